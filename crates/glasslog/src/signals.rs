//! How a service is asked to end: the first SIGTERM or SIGINT asks, the second insists.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// Turns true at the first SIGTERM or SIGINT; a second one ends the process at once, with 128 + its number as a shell
/// would say. What was acknowledged is durable all the same.
///
/// # Errors
///
/// When the operating system refuses the handlers.
pub fn shutdown() -> io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (asked, asking) = watch::channel(false);
    tokio::spawn(async move {
        let _first = either(&mut terminate, &mut interrupt).await;
        asked.send_replace(true);
        std::process::exit(either(&mut terminate, &mut interrupt).await);
    });
    Ok(asking)
}

/// SIGHUP: read again what may change while a service runs.
///
/// # Errors
///
/// When the operating system refuses the handler.
pub fn reread() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> i32 {
    tokio::select! {
        _ = terminate.recv() => 128 + 15,
        _ = interrupt.recv() => 128 + 2,
    }
}

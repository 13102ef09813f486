//! Log lines: to stderr, as text or JSON, filtered by `RUST_LOG` (by default `info`).

use tracing_subscriber::{EnvFilter, fmt};

use crate::settings::LogFormat;

/// Sets up the lines of a service. A second call changes nothing.
pub fn init(format: LogFormat) {
    start(format, "info");
}

/// Only warnings and errors, as text: for commands that show something else.
pub fn init_quiet() {
    start(LogFormat::Text, "warn");
}

fn start(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let _already_set_up = match format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

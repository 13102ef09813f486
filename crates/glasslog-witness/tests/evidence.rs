//! What the operator's log says of logs that contradict themselves: alone in its process, for what is logged is the process's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

mod support;

use std::sync::{Arc, Mutex};

use support::{Log, Witness};

/// The origins of the errors that are logged.
#[derive(Clone, Default)]
struct Evidence(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Evidence {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn event(&self, event: &tracing::Event<'_>) {
        struct Origin<'a>(&'a mut Vec<String>);
        impl tracing::field::Visit for Origin<'_> {
            fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}

            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                if field.name() == "origin" {
                    self.0.push(value.to_owned());
                }
            }
        }
        event.record(&mut Origin(&mut self.0.lock().unwrap()));
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
        tracing::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}
    fn enter(&self, _: &tracing::Id) {}
    fn exit(&self, _: &tracing::Id) {}
}

/// Whoever has a contradiction of one log can show it again and again; that of another is logged all the same.
#[tokio::test]
async fn evidence_does_not_drown_in_that_of_another_log() {
    let evidence = Evidence::default();
    tracing::subscriber::set_global_default(evidence.clone()).unwrap();
    let (loud, other) = (Log::new("log.example/loud"), Log::new("log.example/other"));
    let witness = Witness::of(&[&loud, &other]).await;
    let mut client = witness.client().await;
    for log in [&loud, &other] {
        assert_eq!(client.add(&log.request(0, 0, 5)).await.status, 200);
    }
    let again = loud.request(1, 5, 5);
    for _ in 0..1100 {
        assert_eq!(client.add(&again).await.status, 422);
    }
    assert_eq!(client.add(&other.request(1, 5, 5)).await.status, 422);
    let logged = evidence.0.lock().unwrap();
    let of = |log: &Log| logged.iter().filter(|origin| **origin == log.origin).count();
    assert_eq!(of(&other), 1);
    assert!((1..100).contains(&of(&loud)), "{}", of(&loud));
}

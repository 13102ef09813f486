//! How long this machine takes for a node and for leaves of several lengths, against the `sha2` crate.
//!
//! `cargo run --release -p glasslog-hash --example rate`
#![allow(clippy::print_stdout, reason = "its only purpose is to print a table")]

use std::{hint::black_box, time::Instant};

use glasslog_core::{
    Hash,
    hash::{BatchHasher, ScalarHasher},
};
use glasslog_hash::hasher;

/// Entries of a batch, and nodes of a row.
const COUNT: usize = 128;

fn main() {
    println!("{:<16}{:>12}{:>12}{:>8}", "", "sha2, ns", "batch, ns", "times");
    let children = vec![Hash([7; 32]); 2 * COUNT];
    let mut out = vec![Hash([0; 32]); COUNT];
    report("node", |hasher| hasher.nodes(black_box(&children), black_box(&mut out)));
    let bytes = vec![7; 4096 + COUNT];
    for len in [0, 32, 100, 600, 1024, 4096] {
        let equal: Vec<&[u8]> = (0..COUNT).map(|_| &bytes[..len]).collect();
        report(&format!("leaf, {len} B"), |hasher| hasher.leaves(black_box(&equal), black_box(&mut out)));
    }
    let mixed: Vec<&[u8]> = (0..COUNT).map(|i| &bytes[..300 + i * 37 % 600]).collect();
    report("leaf, 300-900 B", |hasher| hasher.leaves(black_box(&mixed), black_box(&mut out)));
}

fn report(what: &str, mut work: impl FnMut(&dyn BatchHasher)) {
    let [scalar, batch] = [&ScalarHasher as &dyn BatchHasher, hasher()].map(|it| nanoseconds(|| work(it)));
    println!("{what:<16}{scalar:>12.1}{batch:>12.1}{:>8.2}", scalar / batch);
}

/// Time for one hash: the best of many short runs, because other processes share this machine.
fn nanoseconds(mut work: impl FnMut()) -> f64 {
    let runs = (0..400).map(|_| {
        let start = Instant::now();
        (0..8).for_each(|_| work());
        start.elapsed().as_secs_f64()
    });
    runs.fold(f64::INFINITY, f64::min) * 1e9 / (8 * COUNT) as f64
}

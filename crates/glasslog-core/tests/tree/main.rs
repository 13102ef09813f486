//! The tree, its proofs, its tiles and its growth, judged by RFC 6962's own recursive definitions (`naive`).

mod growth;
mod naive;

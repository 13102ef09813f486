//! What every HTTP service of Glasslog shares, and nothing of what it serves: connections that are accepted, bounded and
//! drained ([`serve`](crate::serve::serve)), bodies that are bounded before they are believed ([`body`]), rates per client
//! ([`rate`], [`client`]), answers in one line of text ([`answer`]), ETags ([`etag`]) and pages for people ([`page`]).
//!
//! A service is a [`serve::Handler`]. What is absent: routing (each service has one `match`), TLS (a proxy's work), and any
//! idea of logs.
#![forbid(unsafe_code)]

pub mod answer;
pub mod body;
pub mod client;
pub mod etag;
mod io;
pub mod page;
pub mod rate;
pub mod serve;

pub use io::UnreadBody;

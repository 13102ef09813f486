//! Large answers that are made for one reader each, bounded in bytes altogether: a tail of 4 MiB for each of thousands of
//! readers who take their time would be all memory there is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use crate::answer::Refusal;

/// Answers up to this size are as many as there are connections.
const SMALL: usize = 64 << 10;

/// The large answers on their way.
pub(crate) struct Outgoing {
    bytes: AtomicUsize,
    most: usize,
}

impl Outgoing {
    pub(crate) fn new(most: usize) -> Arc<Outgoing> {
        Arc::new(Outgoing { bytes: AtomicUsize::new(0), most })
    }

    /// `body`, counted until it has been sent or given up.
    ///
    /// # Errors
    ///
    /// 503 when too much is on its way.
    pub(crate) fn send(self: &Arc<Self>, body: Vec<u8>) -> Result<Bytes, Refusal> {
        if body.len() <= SMALL {
            return Ok(body.into());
        }
        let before = self.bytes.fetch_add(body.len(), Ordering::Relaxed);
        let held = Held { outgoing: Arc::clone(self), body };
        if before.saturating_add(held.body.len()) > self.most {
            let message = "many large answers are being sent; ask again soon, or for fewer entries";
            return Err(Refusal::unavailable(message, Duration::from_secs(1)));
        }
        Ok(Bytes::from_owner(held))
    }
}

struct Held {
    outgoing: Arc<Outgoing>,
    body: Vec<u8>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.outgoing.bytes.fetch_sub(self.body.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_much_is_on_its_way() {
        let outgoing = Outgoing::new(200_000);
        let first = outgoing.send(vec![1; 100_000]).unwrap();
        let second = outgoing.send(vec![2; 100_000]).unwrap();
        assert_eq!(outgoing.send(vec![3; 65_537]).unwrap_err().status, 503);
        assert_eq!(outgoing.send(vec![3; 65_536]).unwrap().len(), 65_536, "small ones always go");
        let part = first.slice(5..7);
        drop(first);
        assert!(outgoing.send(vec![3; 65_537]).is_err(), "a part of it is still being sent");
        drop(part);
        assert_eq!(outgoing.send(vec![3; 65_537]).unwrap()[..], [3; 65_537]);
        drop(second);
        assert_eq!(outgoing.bytes.load(Ordering::Relaxed), 0, "what was refused counts no longer");
    }
}

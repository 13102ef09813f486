//! A state that is forgotten with the process: for tests, and for looking at a witness.

use std::{collections::HashMap, io};

use parking_lot::Mutex;

use super::{Record, StateError, Swap, SwapOutcome, WitnessState};

/// Holds everything in memory. A restart forgets, so no witness that matters may use it.
#[derive(Debug, Default)]
pub struct MemoryWitnessState {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: HashMap<String, Record>,
    closed: bool,
}

impl WitnessState for MemoryWitnessState {
    fn load(&self, origin: &str) -> Result<Option<Record>, StateError> {
        Ok(self.inner.lock().records.get(origin).cloned())
    }

    fn load_all(&self) -> Result<Vec<Record>, StateError> {
        Ok(self.inner.lock().records.values().cloned().collect())
    }

    fn swap(&self, swaps: &[Swap]) -> Result<Vec<SwapOutcome>, StateError> {
        let Inner { records, closed } = &mut *self.inner.lock();
        if *closed {
            return Err(StateError::Refused(io::Error::other("the state was closed")));
        }
        let one = |swap: &Swap| {
            let found = records.get(&swap.next.origin);
            if found.map(|record| record.held) != swap.expected {
                return SwapOutcome::Conflict(found.cloned());
            }
            records.insert(swap.next.origin.clone(), swap.next.clone());
            SwapOutcome::Swapped
        };
        Ok(swaps.iter().map(one).collect())
    }

    fn close(&self) -> Result<(), StateError> {
        self.inner.lock().closed = true;
        Ok(())
    }
}

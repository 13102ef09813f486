//! What a witness must not forget: of each log, the largest checkpoint that it cosigned.

mod mark;
mod memory;
mod sqlite;

pub use memory::MemoryWitnessState;
pub use sqlite::{SqliteOptions, SqliteWitnessState};

use std::io;

use bytes::Bytes;

use crate::decide::Held;

/// What is held of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The log's origin.
    pub origin: String,
    /// Size, root, and the time of the cosignatures in the note.
    pub held: Held,
    /// The checkpoint as the world is shown it: the log's signatures that were verified, and the witness's own
    /// cosignatures exactly as they were returned.
    pub note: Bytes,
}

/// One compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// What the log's record must be for this to happen; `None`: there must be none.
    pub expected: Option<Held>,
    /// What it is then.
    pub next: Record,
}

/// How one swap of a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwapOutcome {
    /// It happened, durably.
    Swapped,
    /// Another record was there, which is this one. Nothing was changed.
    Conflict(Option<Record>),
}

/// Why the state could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Nothing was changed and nothing is in doubt, for example because the disk is full: try again later.
    #[error("the witness state refused the change, nothing was written")]
    Refused(#[source] io::Error),
    /// It cannot be learned whether the change is durable. Nothing that rests on it may leave; the process must end.
    #[error("cannot make a change of the witness state durable")]
    Durability(#[source] io::Error),
    /// What is stored contradicts itself or was written by a newer version.
    #[error("the witness state at {place} is not usable: {why}")]
    Corrupt {
        /// The file, or the table.
        place: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// The state is older than one that this witness had: going on could cosign a second history.
    #[error(
        "the witness state at {place} is older than the one that was in use here (it is at change {found}, {marked} was \
         reached): a backup was restored, or the file was removed. Put the newer state back; or start once with \
         --accept-older-state if it is lost, knowing that this witness may then cosign a fork of what it cosigned before"
    )]
    Older {
        /// The file.
        place: String,
        /// The change that the state is at.
        found: u64,
        /// The change that it has been at.
        marked: u64,
    },
    /// Another process has the state open.
    #[error(transparent)]
    Locked(#[from] glasslog_store::lock::LockError),
    /// Reading failed, or the place cannot be made.
    #[error("cannot access the witness state at {place}")]
    Io {
        /// The file, or the table.
        place: String,
        /// What the system or the database said.
        #[source]
        source: io::Error,
    },
}

/// The memory of a witness.
///
/// **Atomic**: a swap happens if and only if the log's record is exactly the expected one (size, root and time), also
/// among processes that share the state. The swaps of one call are for different logs; they are one transaction, each
/// with its own outcome: a conflict of one does not undo the others.
/// **Durable**: what was `Swapped` survives `kill -9` and power loss. After [`StateError::Refused`] no swap of the call
/// has happened, and none will. After [`StateError::Durability`] some may have, and every later call that writes fails.
/// **Never back**: an implementation refuses to open a state that is behind what it was, as far as that can be noticed.
/// **Costs**: one fsync (or one round trip and the server's fsync) for each `swap`, however many swaps are in it.
/// All calls block.
pub trait WitnessState: Send + Sync + 'static {
    /// What is held of the log `origin`.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`], [`StateError::Corrupt`].
    fn load(&self, origin: &str) -> Result<Option<Record>, StateError>;

    /// What is held of every log, in no order.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`], [`StateError::Corrupt`].
    fn load_all(&self) -> Result<Vec<Record>, StateError>;

    /// Does what can be done of `swaps`, and says of each, in their order, how it ended.
    ///
    /// # Errors
    ///
    /// [`StateError::Refused`], [`StateError::Durability`].
    fn swap(&self, swaps: &[Swap]) -> Result<Vec<SwapOutcome>, StateError>;

    /// Says goodbye: what could still be noted about the state is. Later swaps are refused.
    ///
    /// # Errors
    ///
    /// As [`WitnessState::swap`].
    fn close(&self) -> Result<(), StateError>;
}

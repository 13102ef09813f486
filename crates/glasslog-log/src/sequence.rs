//! Step 2, *sequence*: one transaction gives a batch its indices, then every request of it is answered.

use std::{io, sync::Arc};

use bytes::Bytes;
use glasslog_core::{LeafIndex, TreeSize, personality::Identity};
use glasslog_store::{
    duplicates::Recent,
    log_state::{Batch, BatchId, CommitOutcome, Epoch, LogState, Slot, Turn},
};
use hashbrown::HashMap;

use crate::{
    Ack, AddError, Failure, Submission,
    latest::{BYTES_PER_SPILL, MAX_RECENT, ROWS_PER_SPILL},
    pool::{Logged, Request},
    shared::Shared,
};

/// The one thread that appends.
pub(crate) struct Sequencer {
    log: Arc<Shared>,
    /// Every entry that the duplicates table does not cover yet.
    recent: Recent,
    /// Every identity below this size is in `recent` or in the table.
    known: TreeSize,
    /// Bytes of the entries that were appended since `recent` was last handed over.
    recent_bytes: u64,
}

/// The batch that is being formed: what it appends, and what those entries make the latest of their identity.
struct Forming {
    batch: Batch,
    latest: HashMap<Identity, Logged>,
    bytes: u64,
}

impl Sequencer {
    pub(crate) fn new(log: Arc<Shared>, recent: Recent, known: TreeSize) -> Sequencer {
        Sequencer { log, recent, known, recent_bytes: 0 }
    }

    /// Commits batch after batch until the pool is closed and empty.
    ///
    /// A batch is formed as soon as the previous commit has returned, so the batch grows with the load and an idle log
    /// answers after one fsync. Gives back what the duplicates table does not cover.
    pub(crate) fn run(mut self) -> Result<Recent, Failure> {
        while let Some((requests, mut slot)) = self.log.pool.take() {
            let mut requests = requests.into_iter().peekable();
            while requests.peek().is_some() || slot.is_some() {
                let mut entries = 0;
                let batch = std::iter::from_fn(|| {
                    let next = requests.next_if(|next| {
                        entries == 0 || entries + next.entries.len() <= self.log.config.batch_max_size
                    })?;
                    entries += next.entries.len();
                    Some(next)
                });
                let batch = batch.collect();
                // The cut comes after everything that was there when it was asked for.
                let has_room = entries <= self.log.config.batch_max_size;
                let cut = slot.take_if(|_| requests.peek().is_none() && has_room);
                self.commit(batch, cut)?;
            }
            if self.recent.len() >= ROWS_PER_SPILL || self.recent_bytes >= BYTES_PER_SPILL {
                self.log.duplicates.rotate(&mut self.recent, self.log.progress.recorded());
                self.recent_bytes = 0;
            }
        }
        Ok(self.recent)
    }

    /// One turn: decides every request against the head that the turn holds still, commits, answers. With `cut` the batch
    /// ends in an anchor slot.
    fn commit(&mut self, mut requests: Vec<Request>, cut: Option<Epoch>) -> Result<(), Failure> {
        if self.recent.len() > MAX_RECENT {
            let behind = || Err(AddError::push_back("the duplicates table is behind"));
            requests.drain(..).for_each(|request| request.answer(behind()));
        }
        let state = Arc::clone(&self.log.state);
        let turn = state.turn(self.known)?;
        for &(identity, index, leaf_hash) in turn.appended() {
            self.recent.insert(identity, index, leaf_hash);
        }
        self.known = turn.head();

        let mut forming = Forming::new(turn.head())?;
        let mut decided = Vec::with_capacity(requests.len());
        for request in requests {
            match self.decide(&mut forming, &request)? {
                Ok(acks) => decided.push((request, Ok(acks))),
                Err(refusal) => decided.push((request, Err(refusal))),
            }
        }
        forming.batch.slots.extend(cut.map(|_| Slot::Anchor));
        if !forming.batch.slots.is_empty() {
            let batch = Arc::new(forming.batch);
            if let Err(why) = settle(state.as_ref(), turn, &batch, cut)? {
                self.log.progress.refuse(Some(format!("the log's disk refuses writes: {why}")));
                self.log.slot_refused(cut);
                decided.into_iter().for_each(|(request, _)| {
                    request.answer(Err(AddError::push_back("the log's disk refuses writes")));
                });
                return Ok(());
            }
            self.remember(&batch);
            self.recent_bytes += forming.bytes;
            self.log.committed(&batch, forming.bytes);
        }
        for (request, verdict) in decided {
            self.log.progress.answered(&verdict);
            request.answer(verdict);
        }
        Ok(())
    }

    /// What becomes of a request: all of its entries get an index, or none does.
    fn decide(
        &self,
        forming: &mut Forming,
        request: &Request,
    ) -> Result<Result<Vec<Ack>, AddError>, Failure> {
        // The table may have taken over entries from `recent` since the request looked: then look again.
        let again = (request.found_below < self.recent.from())
            .then(|| self.look_again(&request.entries))
            .transpose()?;
        let found = again.as_deref().unwrap_or(&request.found);
        let latest = |forming: &Forming, position: usize| {
            let identity = &request.entries[position].identity;
            let recent = || self.recent.get(identity).map(|(index, leaf_hash)| Logged { index, leaf_hash });
            forming.latest.get(identity).copied().or_else(recent).or(found[position])
        };

        // Conditional add: decided before the request's own entries count.
        if let Some(size) = request.unchanged_since {
            for (position, entry) in request.entries.iter().enumerate() {
                match latest(forming, position) {
                    Some(newer) if newer.index.0 >= size.0 && newer.leaf_hash != entry.leaf_hash => {
                        return Ok(Err(AddError::Changed { position, latest: newer.index }));
                    }
                    _ => {}
                }
            }
        }
        let acks = request.entries.iter().enumerate().map(|(position, entry)| {
            // Equal to the *latest* of its identity, not to any: a patch that is patched back is logged again.
            match latest(forming, position) {
                Some(same) if self.log.config.dedup && same.leaf_hash == entry.leaf_hash => {
                    Ack { index: same.index, duplicate: true }
                }
                _ => Ack { index: forming.append(entry, request.entries.len() > 1), duplicate: false },
            }
        });
        Ok(Ok(acks.collect()))
    }

    fn look_again(&self, entries: &[Submission]) -> Result<Vec<Option<Logged>>, Failure> {
        let view = self.log.duplicates.view();
        if view.covered() < self.recent.from() {
            // Emptied because it is damaged: the log is stopping, and nothing more may rest on it.
            return Err(Failure::System("the duplicates table was emptied; restart to rebuild it".into()));
        }
        self.log.duplicates.look_up(&view, entries, &self.log.progress)
    }

    fn remember(&mut self, batch: &Batch) {
        for (index, slot) in batch.indexed() {
            if let Slot::Entry { leaf_hash, identity, .. } = slot {
                self.recent.insert(*identity, index, *leaf_hash);
            }
        }
        self.known = batch.end();
    }
}

/// Commits a batch in its turn. The inner error says why nothing was appended, and that nothing is in doubt.
pub(crate) fn settle(
    state: &dyn LogState,
    turn: Box<dyn Turn + '_>,
    batch: &Arc<Batch>,
    cut: Option<Epoch>,
) -> Result<io::Result<()>, Failure> {
    match turn.commit(Arc::clone(batch), cut) {
        CommitOutcome::Committed => Ok(Ok(())),
        CommitOutcome::Refused(why) => Ok(Err(why)),
        CommitOutcome::Fenced => Err(Failure::fenced()),
        // Invariant 7: an outcome that cannot be learned stops the writer; here it may still be learned.
        CommitOutcome::Unknown(_) if state.was_committed(batch.id)? => Ok(Ok(())),
        CommitOutcome::Unknown(why) => Err(Failure::durability(why)),
    }
}

/// A batch at `head`, to be filled with slots.
pub(crate) fn new_batch(head: TreeSize) -> Result<Batch, Failure> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|why| Failure::other("no random numbers from the system", why))?;
    Ok(Batch { id: BatchId(id), first_index: head.next_index(), slots: Vec::new() })
}

impl Forming {
    fn new(head: TreeSize) -> Result<Forming, Failure> {
        Ok(Forming { batch: new_batch(head)?, latest: HashMap::new(), bytes: 0 })
    }

    /// Gives `entry` the next index. One entry of many is copied: its bytes are a part of a whole request's, which it
    /// would keep in memory.
    fn append(&mut self, entry: &Submission, is_part: bool) -> LeafIndex {
        let index = self.batch.end().next_index();
        let &Submission { ref bytes, leaf_hash, identity } = entry;
        self.bytes += bytes.len() as u64;
        let bytes = if is_part { Bytes::copy_from_slice(bytes) } else { bytes.clone() };
        self.batch.slots.push(Slot::Entry { bytes, leaf_hash, identity });
        self.latest.insert(identity, Logged { index, leaf_hash });
        index
    }
}

impl Request {
    /// Answers; a request whose caller has gone away is answered to nobody.
    fn answer(self, verdict: Result<Vec<Ack>, AddError>) {
        drop(self.permit);
        let _nobody_waits = self.answer.send(verdict);
    }
}

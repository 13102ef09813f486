//! The slices in memory, by how far each is on its way to the disk.

use std::sync::Arc;

use glasslog_store::runs::RunError;

use crate::{
    merge::{Joiner, Merged},
    run::{Kind, RunMeta},
    slice::{Rows, Slice},
};

/// How far a slice is, the oldest first: slices of different parts are never merged in memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The keeper merges it into a run.
    Merging,
    /// In a spill.
    Durable,
    /// It is to be in the next spill.
    Leaving,
    /// In the one after, or in the next instead.
    Next,
    /// It waits for a revision that may become durable.
    New,
}

/// The slices, oldest first.
#[derive(Default)]
pub(crate) struct Delta {
    slices: Vec<(Part, Arc<Slice>)>,
    /// The spills that hold the durable part, oldest first.
    pub(crate) spills: Vec<RunMeta>,
    /// How many runs stay below a merge that is under way.
    pub(crate) runs_below: usize,
}

impl Delta {
    /// The slices that were read from these spills.
    pub(crate) fn of(slices: Vec<Arc<Slice>>, spills: Vec<RunMeta>) -> Result<Delta, RunError> {
        let mut delta = Delta { slices: Vec::new(), spills, runs_below: 0 };
        for slice in slices {
            delta.slices.push((Part::Durable, slice));
            delta.compact(Part::Durable)?;
        }
        Ok(delta)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Slice>> {
        self.slices.iter().map(|(_, slice)| Arc::clone(slice)).collect()
    }

    pub(crate) fn slices(&self, of: Part) -> Vec<Arc<Slice>> {
        self.slices.iter().filter(|(part, _)| *part == of).map(|(_, slice)| Arc::clone(slice)).collect()
    }

    pub(crate) fn memory(&self) -> usize {
        self.slices.iter().map(|(_, slice)| slice.memory()).sum()
    }

    pub(crate) fn memory_of(&self, of: Part) -> usize {
        self.slices.iter().filter(|(part, _)| *part == of).map(|(_, slice)| slice.memory()).sum()
    }

    pub(crate) fn mark(&mut self, from: Part, to: Part) {
        self.slices.iter_mut().filter(|(part, _)| *part == from).for_each(|(part, _)| *part = to);
    }

    pub(crate) fn remove(&mut self, gone: Part) {
        self.slices.retain(|(part, _)| *part != gone);
    }

    /// Adds the newest slice.
    pub(crate) fn push(&mut self, slice: Arc<Slice>) -> Result<(), RunError> {
        self.slices.push((Part::New, slice));
        self.compact(Part::New)
    }

    /// Merges the newest slices of a part with those before them that are not much larger, so that there are few.
    pub(crate) fn compact(&mut self, of: Part) -> Result<(), RunError> {
        let end = self.slices.partition_point(|(part, _)| *part <= of);
        let start = self.slices.partition_point(|(part, _)| *part < of);
        let part = self.slices.get(start..end).unwrap_or_default();
        let (mut first, mut heads) = (part.len(), 0);
        for (at, (_, slice)) in part.iter().enumerate().rev() {
            if heads > 0 && slice.heads.len() > 2 * heads {
                break;
            }
            (first, heads) = (at, heads + slice.heads.len());
        }
        if part.len() - first.min(part.len()) < 2 {
            return Ok(());
        }
        let merged = join(&self.slices(of).split_off(first))?;
        self.slices.splice(start + first..end, [(of, merged)]);
        Ok(())
    }
}

/// One slice of several, oldest first.
fn join(slices: &[Arc<Slice>]) -> Result<Arc<Slice>, RunError> {
    let mut heads = Rows::default();
    let mut merged = Merged::of_layers(&[], slices, Kind::Heads)?;
    while let Some(row) = merged.row() {
        heads.push(row.key, |out| out.extend_from_slice(row.bytes));
        merged.advance()?;
    }
    let mut postings = Rows::default();
    let mut merged = Merged::of_layers(&[], slices, Kind::Postings)?;
    let mut joiner = Joiner::new("memory".as_ref());
    let mut put = |row: crate::row::Row<'_>| -> Result<(), RunError> {
        postings.push(row.place(), |out| out.extend_from_slice(row.bytes));
        Ok(())
    };
    while let Some(row) = merged.row() {
        joiner.push(row, &mut put)?;
        merged.advance()?;
    }
    joiner.finish(&mut put)?;
    Ok(Slice::new(heads, postings))
}

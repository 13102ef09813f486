//! Layers read as one.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use glasslog_store::runs::RunError;
use glasslog_vindex::Key;

use crate::{
    row::{CHUNK, Place, Row, in_order, put_posting, take_posting},
    run::{Kind, Run, RunCursor},
    slice::Slice,
};

/// Reads the rows of one kind of a layer in order.
pub(crate) enum Cursor {
    Run(RunCursor),
    Slice { slice: Arc<Slice>, kind: Kind, at: usize },
}

impl Cursor {
    pub(crate) fn of_run(run: &Arc<Run>, kind: Kind) -> Result<Cursor, RunError> {
        RunCursor::new(Arc::clone(run), kind).map(Cursor::Run)
    }

    pub(crate) fn of_slice(slice: &Arc<Slice>, kind: Kind) -> Cursor {
        Cursor::Slice { slice: Arc::clone(slice), kind, at: 0 }
    }

    fn row(&self) -> Option<Row<'_>> {
        match self {
            Cursor::Run(cursor) => cursor.row(),
            Cursor::Slice { slice, kind: Kind::Heads, at } => slice.head_row(*at),
            Cursor::Slice { slice, kind: Kind::Postings, at } => slice.posting_row(*at),
        }
    }

    fn advance(&mut self) -> Result<(), RunError> {
        match self {
            Cursor::Run(cursor) => cursor.advance(),
            Cursor::Slice { at, .. } => {
                *at += 1;
                Ok(())
            }
        }
    }
}

/// The cursors of layers, oldest first, as one: of rows at one place only the newest is seen.
pub(crate) struct Merged {
    cursors: Vec<Cursor>,
    /// The place of each cursor's row.
    places: Vec<Option<Place>>,
    least: Option<usize>,
}

impl Merged {
    pub(crate) fn new(cursors: Vec<Cursor>) -> Merged {
        let places = cursors.iter().map(|cursor| cursor.row().map(|row| row.place())).collect();
        let mut merged = Merged { cursors, places, least: None };
        merged.find();
        merged
    }

    /// The rows of one kind in these layers.
    pub(crate) fn of_layers(
        runs: &[Arc<Run>],
        slices: &[Arc<Slice>],
        kind: Kind,
    ) -> Result<Merged, RunError> {
        let mut cursors = runs.iter().map(|run| Cursor::of_run(run, kind)).collect::<Result<Vec<_>, _>>()?;
        cursors.extend(slices.iter().map(|slice| Cursor::of_slice(slice, kind)));
        Ok(Merged::new(cursors))
    }

    /// The cursors, where they stand.
    pub(crate) fn into_cursors(self) -> Vec<Cursor> {
        self.cursors
    }

    /// The current row; `None` past the end.
    pub(crate) fn row(&self) -> Option<Row<'_>> {
        self.cursors.get(self.least?)?.row()
    }

    pub(crate) fn advance(&mut self) -> Result<(), RunError> {
        let Some(current) = self.least.and_then(|least| self.places.get(least).copied().flatten()) else {
            return Ok(());
        };
        for (cursor, place) in self.cursors.iter_mut().zip(&mut self.places) {
            if *place == Some(current) {
                cursor.advance()?;
                *place = cursor.row().map(|row| row.place());
            }
        }
        self.find();
        Ok(())
    }

    /// The count is small: looking at each is as fast as a heap.
    fn find(&mut self) {
        let mut least: Option<(usize, &Place)> = None;
        for (at, place) in self.places.iter().enumerate() {
            if let Some(place) = place
                && least.is_none_or(|(_, other)| !in_order(other, place))
            {
                least = Some((at, place));
            }
        }
        self.least = least.map(|(at, _)| at);
    }
}

/// Joins posting rows that follow on one another, so that all but a list's last have 256 elements.
pub(crate) struct Joiner {
    /// Where the rows come from, for errors.
    path: PathBuf,
    key: Option<Key>,
    start: u64,
    elements: Vec<u64>,
    bytes: Vec<u8>,
}

impl Joiner {
    pub(crate) fn new(path: &Path) -> Joiner {
        Joiner { path: path.to_owned(), key: None, start: 0, elements: Vec::new(), bytes: Vec::new() }
    }

    /// Takes a row; hands over those that are whole.
    pub(crate) fn push<E: From<RunError>>(
        &mut self,
        row: Row<'_>,
        sink: &mut impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.key != Some(row.key) {
            self.flush(0, sink)?;
            (self.key, self.start) = (Some(row.key), row.start);
        }
        if self.start.checked_add(self.elements.len() as u64) != Some(row.start) {
            return Err(self.corrupt("the rows of a list do not follow on one another").into());
        }
        if take_posting(row.bytes, &mut self.elements).is_none() {
            return Err(self.corrupt("a row of a list does not hold what it should").into());
        }
        self.flush(CHUNK, sink)
    }

    /// Hands over what is left.
    pub(crate) fn finish<E: From<RunError>>(
        mut self,
        sink: &mut impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.flush(0, sink)
    }

    /// Hands over rows until at most `keep` elements are left.
    fn flush<E: From<RunError>>(
        &mut self,
        keep: usize,
        sink: &mut impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(key) = self.key.filter(|_| self.elements.len() > keep) {
            let chunk = self.elements.len().min(CHUNK);
            self.bytes.clear();
            let elements = self.elements.get(..chunk).unwrap_or_default();
            if put_posting(&mut self.bytes, elements).is_none() {
                return Err(self.corrupt("the rows of a list do not ascend").into());
            }
            sink(Row { key, start: self.start, bytes: &self.bytes })?;
            self.elements.drain(..chunk);
            self.start += chunk as u64;
        }
        Ok(())
    }

    fn corrupt(&self, why: &str) -> RunError {
        RunError::Corrupt { path: self.path.clone(), why: why.to_owned() }
    }
}

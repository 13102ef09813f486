//! The whole list of a key, read in pages from the front (vindex.md §7.2).

use glasslog_core::{
    LeafIndex, TreeSize,
    json::{Value as Json, scan},
};
use glasslog_vindex::{Answer, List, Present, VerifiedLookup};

use super::{AnswerError, Answered, Inquiry, MAX_ANSWER_BYTES, MAX_LIST};

/// The longest page, in bytes: an answer, and the elements in decimal.
pub const MAX_PAGE_BYTES: usize = MAX_ANSWER_BYTES + MAX_LIST as usize * 24 + 512 * 1024;

/// The longest list that is kept, in elements (128 MiB of memory).
pub const MAX_ELEMENTS: u64 = 1 << 24;

/// Why a page is not believed, nor those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// It is not the JSON of a page.
    #[error("the page has no {0}")]
    Malformed(&'static str),
    /// It begins elsewhere.
    #[error("the page begins at position {got} of the list, and {expected} was asked for")]
    Position {
        /// What was asked for.
        expected: u64,
        /// What it says.
        got: u64,
    },
    /// The proof that comes with it.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// It is of an earlier state of the log than a page before it: a node that lags behind was asked. Begin again.
    #[error("the page is of size {got}, and one before it of size {before}")]
    Lagging {
        /// The size of the page before.
        before: TreeSize,
        /// Its own.
        got: TreeSize,
    },
    /// It has no elements although more are proven to be there.
    #[error("the page is empty, and {missing} elements of the list are missing")]
    Truncated {
        /// How many.
        missing: u64,
    },
    /// The pages have more elements than are proven.
    #[error("the pages have {got} elements, and the list has {count}")]
    TooMany {
        /// How many they have.
        got: u64,
        /// How many are proven.
        count: u64,
    },
    /// The elements do not ascend.
    #[error("the elements of the list do not ascend")]
    NotAscending,
    /// The pages together are not the list that the last page's proof commits to.
    #[error("the pages are not the list that the index commits to")]
    OtherList,
    /// Nobody reads so long a list.
    #[error("the list has {0} elements, more than the {MAX_ELEMENTS} that are read")]
    TooLong(u64),
}

/// A list under way. Nothing that it has read is believed before it is whole.
pub struct ListReader<'i, 'a> {
    inquiry: &'i Inquiry<'a>,
    indices: Vec<LeafIndex>,
    size: TreeSize,
}

/// A whole list, believed.
#[derive(Clone, Debug)]
pub struct WholeList {
    /// Where the key is found, ascending; empty if it is absent.
    pub indices: Vec<LeafIndex>,
    /// The answer that came with the last page, and holds for all.
    pub answered: Answered,
}

/// What a page says.
struct Page {
    start: u64,
    indices: Vec<LeafIndex>,
    proof: String,
}

impl<'i, 'a> ListReader<'i, 'a> {
    /// Nothing read yet.
    #[must_use]
    pub fn new(inquiry: &'i Inquiry<'a>) -> ListReader<'i, 'a> {
        ListReader { inquiry, indices: Vec::new(), size: TreeSize::ZERO }
    }

    /// Where the next page is, below the log's address (JSON, the default).
    #[must_use]
    pub fn path(&self) -> String {
        self.inquiry.path_with(&format!("start={}&limit={MAX_LIST}", self.indices.len()))
    }

    /// Takes the next page, at the time `now` in seconds since 1970; gives the list when it is whole.
    ///
    /// # Errors
    ///
    /// [`PageError`]; then the reading has to begin again, if at all.
    pub fn accept(&mut self, page: &[u8], now: u64) -> Result<Option<WholeList>, PageError> {
        let page = Page::parse(page)?;
        let expected = self.indices.len() as u64;
        if page.start != expected {
            return Err(PageError::Position { expected, got: page.start });
        }
        let answered = self.inquiry.open(page.proof.as_bytes(), now)?;
        let got = answered.verified.checkpoint().size();
        if got < self.size {
            return Err(PageError::Lagging { before: self.size, got });
        }
        self.size = got;
        let count = count(&answered.verified);
        if count > MAX_ELEMENTS {
            return Err(PageError::TooLong(count));
        }
        let missing = count.saturating_sub(expected);
        if page.indices.is_empty() && missing > 0 {
            return Err(PageError::Truncated { missing });
        }
        self.indices.extend(page.indices);
        let got = self.indices.len() as u64;
        if got < count {
            return Ok(None);
        }
        if got > count {
            return Err(PageError::TooMany { got, count });
        }
        check(&self.indices, &answered.verified)?;
        Ok(Some(WholeList { indices: core::mem::take(&mut self.indices), answered }))
    }
}

fn count(verified: &VerifiedLookup) -> u64 {
    match verified.answer() {
        Answer::Absent => 0,
        Answer::Present(present) => present.count,
    }
}

/// Whether `indices` is the whole list: those before the anchor are what its value commits to, the rest the hits of the tail.
fn check(indices: &[LeafIndex], verified: &VerifiedLookup) -> Result<(), PageError> {
    let Answer::Present(present) = verified.answer() else { return Ok(()) };
    let anchored = verified.value().map_or(0, |value| value.count);
    let (before, after) = usize::try_from(anchored)
        .ok()
        .and_then(|anchored| indices.split_at_checked(anchored))
        .ok_or(PageError::OtherList)?;
    let mut list = List::new();
    list.extend(before).map_err(|_| PageError::NotAscending)?;
    if list.value() == verified.value().copied() && after == hits(present, after.len()) {
        Ok(())
    } else {
        Err(PageError::OtherList)
    }
}

/// The last `number` of the proven indices: the hits of the tail.
fn hits(present: &Present, number: usize) -> &[LeafIndex] {
    let from = present.indices.len().saturating_sub(number);
    present.indices.get(from..).unwrap_or_default()
}

impl Page {
    fn parse(page: &[u8]) -> Result<Page, PageError> {
        let json =
            scan(page).ok().and_then(|json| json.as_object()).ok_or(PageError::Malformed("JSON object"))?;
        let number = |json: Json<'_>| json.as_integer().and_then(|number| u64::try_from(number).ok());
        let start = json.get("start").and_then(number).ok_or(PageError::Malformed("`start`"))?;
        let indices = json.get("indices").and_then(|indices| indices.as_array());
        let indices =
            indices.ok_or(PageError::Malformed("`indices`"))?.elements().take(usize::from(MAX_LIST) + 1);
        let indices: Option<Vec<LeafIndex>> = indices.map(|index| number(index).map(LeafIndex)).collect();
        let indices = indices.filter(|indices| indices.len() <= usize::from(MAX_LIST));
        let indices = indices.ok_or(PageError::Malformed("list of at most 1,000 `indices`"))?;
        let proof = json.get("proof").and_then(|proof| proof.as_str().map(Into::into));
        Ok(Page { start, indices, proof: proof.ok_or(PageError::Malformed("`proof`"))? })
    }
}

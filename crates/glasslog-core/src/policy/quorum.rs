//! The quorum as a tree of thresholds over witnesses.
//!
//! The grammar lets each name stand in one place only, so the tree is read once, and every question is answered from the
//! leaves up. Witness lines that are *one* witness (same key name or same URL) break that, for they count once. Inside one
//! group they are taken together as one leaf. When they stand in several groups, one of these places counts at a time:
//! every choice is tried, and [`MAX_CHOICES`] bounds how many there may be.

use alloc::{vec, vec::Vec};

use super::{PolicyError, PolicyWitness};
use crate::note::VerifierKey;

/// The most ways in which one place of each witness can be chosen.
const MAX_CHOICES: usize = 4096;

/// A rule as the policy's lines say it.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// A witness, by its position in the policy.
    Witness(usize),
    /// At least so many of its members.
    Group { threshold: usize, members: Vec<Rule> },
}

/// A quorum rule with the witnesses that are one taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quorum {
    root: Node,
    /// The witness lines (positions in the policy) of each leaf; any of them will do.
    leaves: Vec<Vec<usize>>,
    /// The leaves of each distinct witness, of which one at a time counts.
    identities: Vec<Vec<usize>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Leaf(usize),
    Group { threshold: usize, members: Vec<Node> },
}

/// How a rule fares when the witnesses are dealt to two sides, in the way that is best for both.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Split {
    /// No side can fill it.
    Never,
    /// Either side can, and not both.
    OneSide,
    /// Both sides can at once.
    BothSides,
}

impl Quorum {
    /// The quorum that `rule` asks of those of `witnesses` whose keys may count.
    pub(super) fn new(
        rule: &Rule,
        witnesses: &[PolicyWitness],
        may_count: impl Fn(&VerifierKey) -> bool,
    ) -> Result<Quorum, PolicyError> {
        let mut builder = Builder { identity_of: identities(witnesses), leaves: Vec::new() };
        let root = builder.node(rule);
        let mut identities: Vec<Vec<usize>> = vec![Vec::new(); witnesses.len()];
        for (leaf, (identity, _)) in builder.leaves.iter().enumerate() {
            if let Some(leaves) = identities.get_mut(*identity) {
                leaves.push(leaf);
            }
        }
        identities.retain(|leaves| !leaves.is_empty());
        let leaves = builder.leaves.into_iter().map(|(_, lines)| lines).collect();
        let all: Vec<Option<u64>> =
            witnesses.iter().map(|witness| may_count(&witness.key).then_some(0)).collect();
        Quorum { root, leaves, identities }.checked(&all)
    }

    /// Any `quorum` (a majority unless given) of the distinct ones of `witnesses`; `None` for 0.
    pub(super) fn of_distinct(
        witnesses: &[PolicyWitness],
        quorum: Option<usize>,
    ) -> Result<Option<Quorum>, PolicyError> {
        let count = count_distinct(witnesses);
        let majority = if count == 0 { 0 } else { count / 2 + 1 };
        match quorum.unwrap_or(majority) {
            0 => Ok(None),
            quorum if quorum > count => Err(PolicyError::QuorumSize { quorum, witnesses: count }),
            threshold => {
                let members = (0..witnesses.len()).map(Rule::Witness).collect();
                Quorum::new(&Rule::Group { threshold, members }, witnesses, |_| true).map(Some)
            }
        }
    }

    /// The largest T such that the witness lines whose time is at least T fill the quorum; `None` when all do not.
    pub(super) fn as_of(&self, times: &[Option<u64>]) -> Option<u64> {
        let newest =
            |lines: &Vec<usize>| lines.iter().filter_map(|line| times.get(*line).copied().flatten()).max();
        let times: Vec<Option<u64>> = self.leaves.iter().map(newest).collect();
        self.choices().filter_map(|chosen| as_of(&self.root, &times, &chosen)).max()
    }

    /// Whether the witnesses can be dealt to two sides that both fill the quorum.
    pub(super) fn has_disjoint_quorums(&self) -> bool {
        self.choices().any(|chosen| split(&self.root, &chosen) == Split::BothSides)
    }

    /// The quorum, if it can be evaluated in bounded time, and witnesses with the times `all` fill it.
    fn checked(self, all: &[Option<u64>]) -> Result<Quorum, PolicyError> {
        let ways = self.identities.iter().try_fold(1_usize, |ways, leaves| ways.checked_mul(leaves.len()));
        if ways.is_none_or(|ways| ways > MAX_CHOICES) {
            return Err(PolicyError::TooComplex);
        }
        if self.as_of(all).is_none() {
            return Err(PolicyError::Unsatisfiable);
        }
        Ok(self)
    }

    /// Every way to choose one leaf of each distinct witness: for each leaf, whether it is chosen.
    fn choices(&self) -> impl Iterator<Item = Vec<bool>> {
        let ways: usize = self.identities.iter().map(Vec::len).product();
        (0..ways).map(|mut number| {
            let mut chosen = vec![false; self.leaves.len()];
            for leaves in &self.identities {
                let leaf = leaves.get(number % leaves.len());
                number /= leaves.len();
                if let Some(chosen) = leaf.and_then(|leaf| chosen.get_mut(*leaf)) {
                    *chosen = true;
                }
            }
            chosen
        })
    }
}

/// Turns a rule into nodes, taking together the lines of one group that are one witness.
struct Builder {
    /// For each witness line, the first line that is the same witness.
    identity_of: Vec<usize>,
    /// Identity and witness lines of each leaf so far.
    leaves: Vec<(usize, Vec<usize>)>,
}

impl Builder {
    fn node(&mut self, rule: &Rule) -> Node {
        match rule {
            Rule::Witness(line) => Node::Leaf(self.leaf(*line)),
            Rule::Group { threshold, members } => {
                Node::Group { threshold: *threshold, members: self.members(members) }
            }
        }
    }

    fn members(&mut self, rules: &[Rule]) -> Vec<Node> {
        let mut nodes = Vec::new();
        // Leaves of this very group: positions in `leaves`.
        let mut here: Vec<usize> = Vec::new();
        for rule in rules {
            if let Rule::Witness(line) = rule
                && self.joined(&here, *line)
            {
                continue;
            }
            let node = self.node(rule);
            if let Node::Leaf(leaf) = node {
                here.push(leaf);
            }
            nodes.push(node);
        }
        nodes
    }

    /// Adds `line` to the leaf of `here` that is the same witness, if there is one.
    fn joined(&mut self, here: &[usize], line: usize) -> bool {
        let identity = self.identity(line);
        let same =
            here.iter().find(|leaf| self.leaves.get(**leaf).is_some_and(|(other, _)| *other == identity));
        let Some((_, lines)) = same.copied().and_then(|leaf| self.leaves.get_mut(leaf)) else { return false };
        lines.push(line);
        true
    }

    fn leaf(&mut self, line: usize) -> usize {
        self.leaves.push((self.identity(line), vec![line]));
        self.leaves.len() - 1
    }

    fn identity(&self, line: usize) -> usize {
        self.identity_of.get(line).copied().unwrap_or(line)
    }
}

/// The largest T such that the chosen leaves from T on fill `node`: of a group, the threshold-th newest of its members'.
fn as_of(node: &Node, times: &[Option<u64>], chosen: &[bool]) -> Option<u64> {
    match node {
        Node::Leaf(leaf) if chosen.get(*leaf) == Some(&true) => times.get(*leaf).copied().flatten(),
        Node::Leaf(_) => None,
        Node::Group { threshold, members } => {
            let mut filled: Vec<u64> =
                members.iter().filter_map(|member| as_of(member, times, chosen)).collect();
            filled.sort_unstable_by(|a, b| b.cmp(a));
            filled.get(threshold.checked_sub(1)?).copied()
        }
    }
}

/// A chosen leaf stands on one side. Of a group's members, those that both sides can fill count for both, and the others are
/// dealt out; so both fill the group iff the others suffice for what each side still lacks.
fn split(node: &Node, chosen: &[bool]) -> Split {
    match node {
        Node::Leaf(leaf) if chosen.get(*leaf) == Some(&true) => Split::OneSide,
        Node::Leaf(_) => Split::Never,
        Node::Group { threshold, members } => {
            let splits: Vec<Split> = members.iter().map(|member| split(member, chosen)).collect();
            let count = |wanted| splits.iter().filter(|split| **split == wanted).count();
            let (both, one) = (count(Split::BothSides), count(Split::OneSide));
            if threshold.saturating_sub(both).saturating_mul(2) <= one {
                Split::BothSides
            } else if both + one >= *threshold {
                Split::OneSide
            } else {
                Split::Never
            }
        }
    }
}

/// How many witnesses the lines are of.
pub(super) fn count_distinct(witnesses: &[PolicyWitness]) -> usize {
    let mut distinct = identities(witnesses);
    distinct.sort_unstable();
    distinct.dedup();
    distinct.len()
}

/// For each witness line, the first line that is the same witness: by key name, by its own name, by URL, or by way of others.
fn identities(witnesses: &[PolicyWitness]) -> Vec<usize> {
    let mut identity_of: Vec<usize> = Vec::with_capacity(witnesses.len());
    for (line, witness) in witnesses.iter().enumerate() {
        let same = |old: &usize| witnesses.get(*old).is_some_and(|old| are_one(old, witness));
        let mut joined: Vec<usize> =
            (0..line).filter(same).filter_map(|old| identity_of.get(old).copied()).collect();
        joined.sort_unstable();
        let identity = joined.first().copied().unwrap_or(line);
        for old in &mut identity_of {
            if joined.contains(old) {
                *old = identity;
            }
        }
        identity_of.push(identity);
    }
    identity_of
}

fn are_one(a: &PolicyWitness, b: &PolicyWitness) -> bool {
    let same_url = prefix(a).is_some() && prefix(a) == prefix(b);
    a.key.name() == b.key.name() || a.name == b.name || same_url
}

/// With or without a slash at the end, submissions go to the same place.
fn prefix(witness: &PolicyWitness) -> Option<&str> {
    witness.url.as_deref().map(|url| url.trim_end_matches('/'))
}

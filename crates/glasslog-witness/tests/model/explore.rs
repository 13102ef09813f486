//! Visits every state that a model can reach, breadth first: what is found first took the fewest steps.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    hash::Hash,
};

/// States, and the steps between them.
pub(crate) trait Model {
    type State: Clone + Eq + Hash;
    type Step: Copy + Ord + fmt::Display;

    fn start(&self) -> Self::State;

    /// Everything that may happen next, whoever does it.
    fn steps(&self, state: &Self::State) -> Vec<(Self::Step, Self::State)>;

    /// What is wrong with a state, if anything is.
    fn wrong(&self, state: &Self::State) -> Option<String>;
}

/// All of it was visited, and nothing was wrong.
pub(crate) struct Explored<M: Model> {
    pub(crate) states: Vec<M::State>,
    /// The steps that were taken somewhere.
    pub(crate) steps: BTreeSet<M::Step>,
}

/// The shortest way to a state that is wrong.
pub(crate) struct Counterexample<M: Model> {
    pub(crate) what: String,
    pub(crate) steps: Vec<M::Step>,
}

impl<M: Model> fmt::Debug for Counterexample<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        self.steps.iter().enumerate().try_for_each(|(n, step)| writeln!(f, "{:3}. {step}", n + 1))
    }
}

pub(crate) fn explore<M: Model>(model: &M) -> Result<Explored<M>, Counterexample<M>> {
    let start = model.start();
    let mut known = HashSet::from([start.clone()]);
    let mut states = vec![start];
    let mut ways: Vec<Option<(usize, M::Step)>> = vec![None];
    let mut taken = BTreeSet::new();
    let mut at = 0;
    while at < states.len() {
        if let Some(what) = model.wrong(&states[at]) {
            return Err(Counterexample { what, steps: way_to(at, &ways) });
        }
        for (step, next) in model.steps(&states[at]) {
            taken.insert(step);
            if known.insert(next.clone()) {
                states.push(next);
                ways.push(Some((at, step)));
            }
        }
        at += 1;
    }
    Ok(Explored { states, steps: taken })
}

fn way_to<S: Copy>(mut at: usize, ways: &[Option<(usize, S)>]) -> Vec<S> {
    let mut steps = Vec::new();
    while let Some((before, step)) = ways[at] {
        steps.push(step);
        at = before;
    }
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two counters that go round, 3 and 5 long; wrong at one place, or nowhere.
    struct Counters {
        wrong: Option<(u8, u8)>,
    }

    impl Model for Counters {
        type State = (u8, u8);
        type Step = char;

        fn start(&self) -> (u8, u8) {
            (0, 0)
        }

        fn steps(&self, (a, b): &(u8, u8)) -> Vec<(char, (u8, u8))> {
            vec![('a', ((a + 1) % 3, *b)), ('b', (*a, (b + 1) % 5))]
        }

        fn wrong(&self, state: &(u8, u8)) -> Option<String> {
            (self.wrong == Some(*state)).then(|| "here".to_owned())
        }
    }

    #[test]
    fn every_state_is_visited_once_and_the_shortest_way_is_told() {
        let all = explore(&Counters { wrong: None }).unwrap();
        assert_eq!((all.states.len(), all.steps), (15, BTreeSet::from(['a', 'b'])));
        let found = explore(&Counters { wrong: Some((2, 4)) }).err().unwrap();
        assert_eq!((found.steps.len(), found.what.as_str()), (6, "here"));
        assert_eq!(explore(&Counters { wrong: Some((2, 5)) }).unwrap().states.len(), 15);
    }
}

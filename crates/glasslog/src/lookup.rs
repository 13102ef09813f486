//! `glasslog lookup`: what a log holds about a name, with proof, including "nothing".

mod ask;
mod told;

use std::sync::Arc;

use clap::Args;
use glasslog_client::{
    lookup::{Inquiry, MAX_ENTRIES, MAX_LIST, Wanted},
    pin::Pins,
};
use glasslog_conda::Conda1Map;
use glasslog_vindex::{JsonField, Key, MapFunction};

pub(crate) use ask::{Asking, Believed, heed_disavowals};
pub(crate) use told::{Told, question_text};

use crate::{
    age::AgeArgs,
    cli::LogArgs,
    exit::{Exit, Failed, OrExit, Outcome},
    fetch::{Memory, Source, Target},
    output::Output,
};

/// The map function that is pinned where none is said.
pub const DEFAULT_MAP_FN: &str = "conda-1";

/// Arguments of `glasslog lookup`.
#[derive(Debug, Args)]
pub struct LookupArgs {
    /// What to look up, for example conda/conda-forge/linux-64/numpy-1.26.4-py311_0.conda
    pub key: String,
    /// What it means.
    #[command(flatten)]
    pub meaning: KeyArgs,
    /// How many of its newest entries to show, 64 at most
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=i64::from(MAX_ENTRIES)))]
    pub entries: u8,
    /// Show where all of its entries are, however many, and not only the newest (20; 1000 with --json)
    #[arg(long)]
    pub all: bool,
    /// How new the answer must be.
    #[command(flatten)]
    pub age: AgeArgs,
    /// The log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What a key means, for every command that takes one.
#[derive(Clone, Debug, Default, Args)]
pub struct KeyArgs {
    /// What the key is a name of; conda-1 has path, name, artifact, subdir and repo [default: the map function's first]
    #[arg(long)]
    pub kind: Option<String>,
    /// The key is the 32 bytes that the index has, in hexadecimal
    #[arg(long, conflicts_with = "kind")]
    pub hex: bool,
    /// What the log's index is of: conda-1, or json-field:NAME. Pinned, like the log's key [default: conda-1]
    #[arg(long, value_name = "NAME")]
    pub map_fn: Option<String>,
}

impl KeyArgs {
    /// The pinned map function.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64 for an unknown one.
    pub(crate) fn map_function(&self, target: &Target) -> Result<Arc<dyn MapFunction>, Failed> {
        map_function(self.map_fn.as_deref().or(target.map_fn.as_deref()).unwrap_or(DEFAULT_MAP_FN))
    }

    /// The question after `key`.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64 for what cannot be asked.
    pub(crate) fn inquiry<'a>(
        &self,
        pins: &'a Pins,
        map_fn: &'a dyn MapFunction,
        key: &str,
    ) -> Result<Inquiry<'a>, Failed> {
        if self.hex {
            return Inquiry::of_key(pins, map_fn, parse_key(key)?).or_exit(Exit::Usage);
        }
        Inquiry::of_name(pins, map_fn, self.kind.as_deref(), key).or_exit(Exit::Usage)
    }

    /// The key that `map_fn` has for `key`.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64.
    pub(crate) fn key(&self, map_fn: &dyn MapFunction, key: &str) -> Result<Key, Failed> {
        if self.hex { parse_key(key) } else { map_fn.key(self.kind.as_deref(), key).or_exit(Exit::Usage) }
    }
}

/// Runs it.
///
/// # Errors
///
/// [`Failed`].
pub async fn run(args: LookupArgs, out: &Output) -> Outcome {
    let target = Target::of(&args.log)?;
    let (pins, map_fn) = (target.pins()?, args.meaning.map_function(&target)?);
    let inquiry = args.meaning.inquiry(pins, &*map_fn, &args.key)?;
    let source = Source::open(target.url()?).or_exit(Exit::Usage)?;
    let memory = Memory::of_user();
    let asking = Asking { source: &source, pins, memory: memory.as_ref(), demand: args.age.demand(), out };
    let wanted = Wanted { list: MAX_LIST, entries: args.entries };
    let mut believed = asking.ask(&inquiry, wanted).await?.ok_or_else(|| no_index(&target))?;
    // Of a long list an answer may show a single element, though more of its entries are wanted.
    if args.all || believed.indices().len() < args.entries.into() {
        believed = asking.complete(&inquiry, believed).await?.ok_or_else(|| no_index(&target))?;
    }
    let entries = believed.newest(&source, &inquiry, args.entries.into()).await?;
    Ok(Told {
        question: inquiry.question(),
        believed: &believed,
        entries: &entries,
        all: args.all,
        file: None,
    }
    .tell(&*map_fn, out))
}

/// The map function of this name.
///
/// # Errors
///
/// [`Failed`] with 64 for an unknown one.
pub(crate) fn map_function(name: &str) -> Result<Arc<dyn MapFunction>, Failed> {
    if name == Conda1Map.name() {
        return Ok(Arc::new(Conda1Map));
    }
    let field = JsonField::parse(name).ok_or_else(|| {
        Failed::usage(format!(
            "--map-fn {name}: there is conda-1, and json-field:NAME for a member of JSON entries"
        ))
    })?;
    Ok(Arc::new(field))
}

/// What to say of a log that has no index.
pub(crate) fn no_index(target: &Target) -> Failed {
    let url = target.url.as_deref().unwrap_or_default();
    Failed::new(
        Exit::LogFailure,
        format!(
            "{url} has no index to ask (it answers 404, or is a directory): nothing can be looked up there"
        ),
    )
}

fn parse_key(hex: &str) -> Result<Key, Failed> {
    let wrong = || Failed::usage(format!("{hex:?} is not the 64 hexadecimal digits of a key"));
    const_hex::decode_to_array(hex).ok().filter(|_| hex.len() == 64).map(Key).ok_or_else(wrong)
}

//! `glasslog witness`: a running witness. An empty directory is enough.

mod bastions;
mod lists;
mod service;
mod signers;

pub use bastions::ToldBastion;
pub use service::{Reread, WitnessService};

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::{
    exit::{Exit, Failed, OrExit, Outcome},
    logging,
    output::{Output, Tone},
    settings::{
        DEFAULT_FILE, WitnessFlags,
        layers::Layers,
        witness::{DEFAULT_WITNESS_DIR, WitnessSettings},
    },
    signals,
};

/// Arguments of `glasslog witness`.
#[derive(Clone, Debug, Default, Args)]
pub struct WitnessArgs {
    /// Where the witness keeps what it was not told
    #[arg(long, value_name = "DIR", help = format!("Where the witness keeps its keys and its memory [default: {DEFAULT_WITNESS_DIR}]"))]
    pub dir: Option<PathBuf>,
    /// Settings file
    #[arg(long, value_name = "FILE", help = format!("Settings file, of which [witness] is read [default: {DEFAULT_FILE}, if there is one]"))]
    pub config: Option<PathBuf>,
    /// Take a memory that is older than it was (a restored backup) as the truth: it may then cosign a fork of what it cosigned before
    #[arg(long)]
    pub accept_older_state: bool,
    /// One flag for each setting.
    #[command(flatten)]
    pub settings: WitnessFlags,
}

impl WitnessArgs {
    /// What was given, by whom.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64.
    pub fn layers(&self) -> Result<Layers, Failed> {
        let in_place = Path::new(DEFAULT_FILE);
        let file = self.config.as_deref().or_else(|| in_place.exists().then_some(in_place));
        Layers::of_witness(&self.settings, &|name| std::env::var(name).ok(), file).or_exit(Exit::Usage)
    }

    /// What it comes to.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64.
    pub fn resolve(&self) -> Result<WitnessSettings, Failed> {
        WitnessSettings::resolve(&self.layers()?, self.dir.as_deref()).or_exit(Exit::Usage)
    }
}

/// Runs until SIGTERM or SIGINT, then drains: what was decided is answered before it ends.
///
/// # Errors
///
/// [`Failed`] with 64 for settings, 5 when the witness cannot start or stopped for its own safety.
pub async fn run(args: WitnessArgs, out: &Output) -> Outcome {
    let settings = args.resolve()?;
    logging::init(settings.log_format);
    let shutdown = signals::shutdown()?;
    let again = args.clone();
    let reread = Reread::new(move || again.resolve())?;
    let in_memory = settings.database.is_none();
    let service = WitnessService::start(settings, args.accept_older_state).await?;
    announce(&service, out);
    if in_memory {
        out.warn("DATABASE_URL=sqlite::memory: forgets what was cosigned when this process ends; a log could then show it another history");
    }
    service.run(shutdown, Some(reread)).await?;
    out.note("stopped; every cosignature that was given is remembered");
    Ok(Exit::Ok)
}

/// What a script needs stands on the first line of stdout: `listening on URL`.
fn announce(service: &WitnessService, out: &Output) {
    let told = &service.told;
    out.json(told);
    out.line(format_args!("listening on {}", out.paint(Tone::Strong, &told.url)));
    let state = if told.new { "new witness" } else { "witness" };
    let place = told.database.as_deref().unwrap_or("memory");
    out.line(format_args!("  name    {}  ({state}, in {place})", out.paint(Tone::Strong, &told.name)));
    for vkey in &told.vkeys {
        out.line(format_args!("  vkey    {vkey}"));
    }
    for bastion in &told.bastions {
        out.line(format_args!("  bastion {}", bastion.url));
    }
    out.line(format_args!("  logs    {}", told.logs));
    if let Some(vkey) = told.vkeys.first() {
        let url = told.public_url.as_deref().unwrap_or(&told.url);
        out.note(format_args!("A log adds it with  EXTERNAL_WITNESSES='{}={url}={vkey}'", told.name));
    }
    if let Some(bastion) = told.bastions.first() {
        out.note(format_args!("The operator of a bastion lists it by its key hash  {}", bastion.key_hash));
    }
    if told.logs == 0 {
        out.note(
            "It knows no log yet, and refuses every checkpoint: add one with --log 'ORIGIN=VKEY' (a running log prints both) or --log-list FILE|URL",
        );
    }
}

/// A witness, as the operator is told.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// Where it listens, as an address that this machine can use.
    pub url: String,
    /// Where the world reaches it, if that was said, or its first bastion does.
    pub public_url: Option<String>,
    /// Its bastions.
    pub bastions: Vec<ToldBastion>,
    /// Its name: that of its keys.
    pub name: String,
    /// Its keys, 0x04 first.
    pub vkeys: Vec<String>,
    /// Where it remembers what it cosigned; `None`: in memory.
    pub database: Option<String>,
    /// Whether this start made it.
    pub new: bool,
    /// How many logs it knows, before any list behind a URL is read.
    pub logs: usize,
}

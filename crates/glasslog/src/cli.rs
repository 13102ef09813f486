//! The command line: every command and the flags they share. What a command does is in the module of its name.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::{
    bench, config, demo,
    exit::{Exit, Failed, OrExit, Outcome},
    fsck, index, ingest, keys, log_stanza, lookup,
    output::{Colour, Output},
    prove, recover, serve,
    settings::{layers, values},
    verify, witness,
};

/// Transparency log for package ecosystems.
#[derive(Debug, Parser)]
#[command(name = "glasslog", version, about, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct GlobalArgs {
    /// Print results as JSON, for scripts
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Colour,
}

/// Which log a command speaks to, and what it pins.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// Address of the log
    #[arg(long, value_name = "URL")]
    pub log_url: Option<String>,
    /// Name of the log in ~/.config/glasslog/config.toml, instead of --log-url
    #[arg(long, value_name = "NAME", conflicts_with = "log_url")]
    pub log: Option<String>,
    /// Key that the log's checkpoints must verify under (`origin+8 hex digits+base64`); repeatable
    #[arg(long, value_name = "VKEY")]
    pub vkey: Vec<String>,
    /// c2sp.org/tlog-policy file: keys of log and witnesses, and the quorum
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Token for writes; of several with commas between, as a server has them, the first
    #[arg(long, value_name = "TOKEN", env = "API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// Read the token for writes from this file
    #[arg(long, value_name = "FILE", env = "API_KEY_FILE", hide_env_values = true)]
    pub api_key_file: Option<PathBuf>,
}

impl LogArgs {
    /// The token that writes carry, if there is one; `--api-key` goes before `--api-key-file`.
    ///
    /// The server's `API_KEY` may name several, so that tokens can be changed; each of them is taken.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64 when the file cannot be read or is far too long for a token.
    pub fn token(&self) -> Result<Option<String>, Failed> {
        let first = |text: &str| values::list(text).next().map(str::to_owned);
        if let Some(token) = self.api_key.as_deref().and_then(first) {
            return Ok(Some(token));
        }
        // An empty variable is unset, as it is for the server.
        let Some(path) = self.api_key_file.as_deref().filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(None);
        };
        let text = layers::read_text(path).or_exit(Exit::Usage)?;
        Ok(first(&text))
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tour: a log, a sample channel, a verified package and a tampered one
    Demo(demo::DemoArgs),
    /// Run a log; an empty directory is enough
    Serve(Box<serve::ServeArgs>),
    /// Run a witness, which cosigns what logs publish; an empty directory is enough
    Witness(Box<witness::WitnessArgs>),
    /// Submit what a channel lists
    #[command(subcommand)]
    Ingest(ingest::IngestCommand),
    /// Check that a log holds something, with proof
    #[command(subcommand)]
    Verify(verify::VerifyCommand),
    /// Look up what a log holds about a name, with proof, also that it holds nothing
    Lookup(lookup::LookupArgs),
    /// Write a proof of what a log holds, for others to verify
    Prove(prove::ProveArgs),
    /// Recompute a whole log and name the first difference
    Fsck(fsck::FsckArgs),
    /// The verifiable index of a log
    #[command(subcommand)]
    Index(index::IndexCommand),
    /// Load a log, wait for publication, and check that nothing is lost
    Bench(bench::BenchArgs),
    /// Bring back a log whose state is lost or behind what was published
    Recover(recover::RecoverArgs),
    /// Make and show signing keys
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// Print what a log's operator sends to witnesses: a stanza of their list of logs
    LogStanza(log_stanza::LogStanzaArgs),
    /// Explain the settings
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print shell completions
    Completions(CompletionsArgs),
}

/// Arguments of `glasslog completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell
    pub shell: clap_complete::Shell,
}

/// Parses `args` and runs the command: the whole program.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // clap's own code for a usage error is 2, which here means "not logged".
            let wanted = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if wanted { Exit::Ok } else { Exit::Usage }.into();
        }
    };
    let out = Output::new(cli.global.json, cli.global.quiet, cli.global.color);
    match dispatch(cli.command, &out) {
        Ok(exit) => exit.into(),
        Err(failed) => {
            out.error(failed.reason());
            failed.exit.into()
        }
    }
}

fn dispatch(command: Command, out: &Output) -> Outcome {
    if let Command::Completions(args) = command {
        clap_complete::generate(args.shell, &mut Cli::command(), "glasslog", &mut std::io::stdout());
        return Ok(Exit::Ok);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Demo(args) => demo::run(args, out).await,
            Command::Serve(args) => serve::run(*args, out).await,
            Command::Witness(args) => witness::run(*args, out).await,
            Command::Ingest(command) => ingest::run(command, out).await,
            Command::Verify(command) => verify::run(command, out).await,
            Command::Lookup(args) => lookup::run(args, out).await,
            Command::Prove(args) => prove::run(args, out).await,
            Command::Fsck(args) => fsck::run(args, out).await,
            Command::Index(command) => index::run(command, out).await,
            Command::Bench(args) => bench::run(args, out).await,
            Command::Recover(args) => recover::run(args, out).await,
            Command::Key(command) => keys::run(command, out),
            Command::LogStanza(args) => log_stanza::run(args, out).await,
            Command::Config(command) => config::run(command, out).await,
            Command::Completions(_) => Ok(Exit::Ok),
        }
    });
    // A blocking call that hangs (a dead network file system) must not keep the process from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    outcome
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// clap's own check of the whole definition (conflicting names, wrong defaults).
    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_is_the_first_of_the_list_or_stands_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::File::create(&file).unwrap().write_all(b" from-file ,second\n").unwrap();
        for (api_key, file, expected) in [
            (None, None, Ok(None)),
            (Some(""), None, Ok(None)),
            (Some("a"), None, Ok(Some("a"))),
            (Some(" a , b"), Some(&file), Ok(Some("a"))),
            (None, Some(&file), Ok(Some("from-file"))),
            (Some(""), Some(&file), Ok(Some("from-file"))),
            (None, Some(&PathBuf::new()), Ok(None)),
            (None, Some(&dir.path().join("missing")), Err(Exit::Usage)),
        ] {
            let args = LogArgs {
                api_key: api_key.map(str::to_owned),
                api_key_file: file.cloned(),
                ..LogArgs::default()
            };
            let found = args.token().map_err(|failed| failed.exit);
            assert_eq!(found, expected.map(|token| token.map(str::to_owned)), "{api_key:?} {file:?}");
        }
    }

    /// The spellings that other tools drive (DESIGN §7).
    #[test]
    fn fixed_spellings_parse() {
        for line in [
            "serve --dir D --listen 127.0.0.1:0",
            "ingest conda F --repo R --subdir S",
            "verify record --repo R --subdir S --file F --repodata X",
            "verify proof F",
            "verify proof --offline F",
            "lookup --kind path KEY --log-url U --vkey V",
            "prove --kind path KEY -o F.tlog-proof",
            "prove --index 7 -o F.tlog-proof",
            "fsck http://127.0.0.1:2025",
            "index check http://127.0.0.1:2025",
            "index rebuild D --entry-schema conda-1",
            "index disavow D 5 70 --vindex-key-field name",
            "index check D --map-fn json-field:name --work-dir W --resume -o F",
            "bench http://127.0.0.1:2025",
            "recover D",
            "key new example.org/log",
            "key show",
            "config check",
            "config check --online --dir D",
            "demo --once",
            "key new example.org/w --type witness-ml-dsa",
            "key rotate --dir D",
            "key rotate --finish --dir D",
            "log-stanza --dir D --contact C",
            "witness --listen A --database-url U --private-key SKEY --log O=V --log P=W",
        ] {
            let args = std::iter::once("glasslog").chain(line.split(' '));
            assert!(Cli::try_parse_from(args).is_ok(), "{line}");
        }
    }
}

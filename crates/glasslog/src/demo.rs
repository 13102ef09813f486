//! `glasslog demo`: a tour through real commands. Each one is shown as it would be typed, and then run.

mod witnesses;

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Parser};
use glasslog_conda::sample;
use tokio::sync::watch;
use witnesses::{Policies, Witnesses};

use crate::{
    cli::{Cli, Command},
    exit::{Exit, Failed, OrExit, Outcome},
    fetch::HttpSource,
    ingest, log_dir, logging, lookup,
    output::{Output, Tone},
    service::{self, Service},
    settings::{SettingFlags, Settings, layers::Layers, table},
    signals, verify,
};

/// The package of the sample channel that is verified.
const PACKAGE: &str = "granite-core-1.2.2-h71c20f5_0.conda";

/// One that the sample channel does not have.
const UNPUBLISHED: &str = "granite-core-9.9.9-h71c20f5_0.conda";

/// Where it is listed.
const SUBDIR: &str = "linux-64";

/// Arguments of `glasslog demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the demo keeps its log and its sample channel
    #[arg(long, value_name = "DIR", default_value = "./glasslog-demo")]
    pub dir: PathBuf,
    /// Where to listen [default: 127.0.0.1:2025, or any free port if that is taken]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// End after the tour instead of serving until Ctrl-C
    #[arg(long)]
    pub once: bool,
}

/// Runs the tour.
///
/// # Errors
///
/// [`Failed`] when a step does not end as the tour says it does.
pub async fn run(args: DemoArgs, out: &Output) -> Outcome {
    logging::init_quiet();
    let shutdown = signals::shutdown()?;
    let (service, mut witnesses) = start(&args).await?;
    let channel = Channel::write(&args.dir)?;
    let url = service.url.clone();
    let vkey = service.logs.iter().flat_map(|log| &log.vkeys).next().cloned().unwrap_or_default();
    let policies = witnesses.write_policies(&args.dir, &vkey)?;
    let witness_urls = witnesses.urls().join(", ");
    let seen = args.dir.join("seen");
    let tour = Tour { url: &url, witnesses: &witness_urls, channel: &channel, policies: &policies, seen };
    let (stop, stopping) = watch::channel(false);
    let mut serving = tokio::spawn(service.run(stopping));

    let toured = tokio::select! {
        toured = tour.run(&args.dir, out) => toured,
        () = service::until(shutdown.clone()) => Ok(()),
        ended = &mut serving => return ended?.map(|_| Exit::Ok),
        failed = witnesses.failed() => return Err(failed),
    };
    if toured.is_ok() && !args.once {
        what_next(&tour, out);
        tokio::select! {
            () = service::until(shutdown) => {}
            ended = &mut serving => return ended?.map(|_| Exit::Ok),
            failed = witnesses.failed() => return Err(failed),
        }
    }
    stop.send_replace(true);
    serving.await??;
    witnesses.stop().await?;
    toured.map(|()| Exit::Ok)
}

/// The demo's own log and its witnesses, whatever the environment says about others.
async fn start(args: &DemoArgs) -> Result<(Service, Witnesses), Failed> {
    let settings = |listen: &str, witnesses: &str| {
        let flags = SettingFlags::default()
            .with("listen", listen)
            .with("entry-schema", "conda-1")
            .with("external-witnesses", witnesses)
            // A short pause, so that nobody waits for the tour.
            .with("checkpoint-interval", "100ms");
        Layers::collect(&flags, &|_| None, None)
            .and_then(|layers| Settings::resolve(&layers, Some(&args.dir.join("log"))))
            .or_exit(Exit::Usage)
    };
    let usual = table::by_name("LISTEN_ADDR").map_or("", |setting| setting.default);
    let listen = match &args.listen {
        Some(listen) => listen,
        None if std::net::TcpListener::bind(usual).is_ok() => usual,
        None => "127.0.0.1:0",
    };
    // The witnesses are told of the log before it asks them.
    let key = settings(listen, "")?.logs.iter().map(log_dir::make_keys).collect::<Result<Vec<_>, _>>()?;
    let key = key.iter().flatten().next().context("a log has a key")?;
    let witnesses = Witnesses::start(&args.dir, key.verifier_key()).await?;
    let service = Service::start(settings(listen, &witnesses.external())?).await?;
    Ok((service, witnesses))
}

/// The sample channel, and the same one after somebody has changed a package.
struct Channel {
    honest: Vec<PathBuf>,
    tampered: PathBuf,
}

impl Channel {
    fn write(dir: &Path) -> Result<Channel, Failed> {
        let write = |channel: &str, subdir: &str, content: &[u8]| {
            let path = dir.join(channel).join(subdir).join("repodata.json");
            let write = || {
                fs::create_dir_all(path.parent().unwrap_or(dir))?;
                File::create(&path)?.write_all(content)
            };
            write().with_context(|| format!("cannot write {}", path.display())).map(|()| path.clone())
        };
        let honest = sample::SUBDIRS.iter().map(|(subdir, content)| write("channel", subdir, content));
        let honest = honest.collect::<Result<_, _>>()?;
        Ok(Channel { honest, tampered: write("tampered", SUBDIR, &tampered()?)? })
    }

    fn honest(&self) -> &Path {
        let listed =
            self.honest.iter().find(|path| path.parent().is_some_and(|parent| parent.ends_with(SUBDIR)));
        listed.map_or(Path::new(""), PathBuf::as_path)
    }
}

/// The repodata that lists the package, with another hash for it.
fn tampered() -> Result<Vec<u8>, Failed> {
    let mut repodata: serde_json::Value = serde_json::from_slice(sample::LINUX_64)?;
    if let Some(serde_json::Value::String(hash)) =
        repodata.pointer_mut(&format!("/packages.conda/{PACKAGE}/sha256"))
    {
        *hash = hash.chars().rev().collect();
    }
    Ok(serde_json::to_vec_pretty(&repodata)?)
}

/// The commands of the tour.
struct Tour<'a> {
    url: &'a str,
    witnesses: &'a str,
    channel: &'a Channel,
    policies: &'a Policies,
    seen: PathBuf,
}

impl Tour<'_> {
    fn ingest(&self) -> Vec<String> {
        let mut command = words(&["ingest", "conda"]);
        command.extend(self.channel.honest.iter().map(|path| path.display().to_string()));
        let seen = self.seen.display().to_string();
        command.extend(words(&["--repo", sample::REPO, "--log-url", self.url, "--state-dir", &seen]));
        command
    }

    fn verify(&self, repodata: &Path, policy: &Path) -> Vec<String> {
        let (repodata, policy) = (repodata.display().to_string(), policy.display().to_string());
        let mut command =
            words(&["verify", "record", "--repo", sample::REPO, "--subdir", SUBDIR, "--file", PACKAGE]);
        command.extend(words(&["--repodata", &repodata, "--log-url", self.url, "--policy", &policy]));
        command
    }

    fn lookup(&self, policy: &Path) -> Vec<String> {
        let key = format!("conda/{}/{SUBDIR}/{UNPUBLISHED}", sample::REPO);
        words(&["lookup", &key, "--log-url", self.url, "--policy", &policy.display().to_string()])
    }

    async fn run(&self, dir: &Path, out: &Output) -> Result<(), Failed> {
        let title = format!(
            "A log of your own is running on {}, with two witnesses ({}), in {}.",
            self.url,
            self.witnesses,
            dir.display()
        );
        out.line(out.paint(Tone::Strong, title));
        ready(self.url).await?;
        let Policies { both, three } = self.policies;
        step(1, "A channel's packages go into the log", self.ingest(), Exit::Ok, out).await?;
        let sound = self.verify(self.channel.honest(), both);
        step(
            2,
            "One of them is checked, with proof, and that both witnesses saw this log",
            sound,
            Exit::Ok,
            out,
        )
        .await?;
        let tampered = self.verify(&self.channel.tampered, both);
        step(3, "Somebody hands you repodata with another hash for it", tampered, Exit::Mismatch, out)
            .await?;
        let unseen = self.verify(self.channel.honest(), three);
        let title = "You also ask for a third witness, to which the log was never shown";
        step(4, title, unseen, Exit::LogFailure, out).await?;
        let title = "You ask about a package that was never published: that it is not there is proven, too";
        step(5, title, self.lookup(both), Exit::NotLogged, out).await
    }
}

/// Waits until the witnesses have confirmed what the log recorded last: before that it takes nothing.
async fn ready(url: &str) -> Result<(), Failed> {
    let source = HttpSource::new(url).or_exit(Exit::OwnFailure)?;
    let answered = async {
        while !source
            .client()
            .get(source.url("ready"))
            .send()
            .await
            .is_ok_and(|ready| ready.status().is_success())
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), answered).await;
    Ok(waited.context("the log of the demo did not become ready: please report this")?)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Shows a command as it would be typed, and runs it.
async fn step(
    number: u8,
    title: &str,
    command: Vec<String>,
    expected: Exit,
    out: &Output,
) -> Result<(), Failed> {
    out.line("");
    out.line(out.paint(Tone::Strong, format!("{number}. {title}")));
    out.line(out.paint(Tone::Faint, as_typed(&command)));
    let cli = Cli::try_parse_from(std::iter::once("glasslog".to_owned()).chain(command))?;
    let exit = match run_step(cli.command, out).await {
        // As the command itself would end.
        Err(failed) if failed.exit == expected => {
            out.error(format_args!("{:#}", failed.error));
            failed.exit
        }
        ended => ended?,
    };
    if exit != Exit::Ok {
        out.line(out.paint(Tone::Faint, format!("   (exit code {})", exit as u8)));
    }
    if exit == expected {
        return Ok(());
    }
    let message = format!(
        "step {number} of the demo ended with {}, not {}: please report this",
        exit as u8, expected as u8
    );
    Err(Failed::new(Exit::OwnFailure, message))
}

async fn run_step(command: Command, out: &Output) -> Outcome {
    match command {
        Command::Ingest(ingest::IngestCommand::Conda(mut args)) => {
            // The demo's log has no tokens, whatever the environment says about other logs.
            (args.log.api_key, args.log.api_key_file) = (None, None);
            Box::pin(ingest::run(ingest::IngestCommand::Conda(args), out)).await
        }
        Command::Lookup(args) => Box::pin(lookup::run(args, out)).await,
        Command::Verify(command) => Box::pin(verify::run(command, out)).await,
        other => Err(Failed::usage(format!("the tour has no such step: {other:?}"))),
    }
}

/// This program as it was typed: `cargo run` and a path both start one that need not be in the shell's path.
fn program() -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let typed = std::env::args().next().filter(|typed| typed.contains('/') && typed.chars().all(is_plain));
    typed.unwrap_or_else(|| "glasslog".to_owned())
}

/// The command line, broken before a flag where it would get long, so that it can be copied as it stands.
fn as_typed(command: &[String]) -> String {
    const WIDTH: usize = 100;
    let mut lines = vec![format!("   $ {}", program())];
    for (place, word) in command.iter().enumerate() {
        let value = command.get(place + 1).filter(|next| word.starts_with("--") && !next.starts_with("--"));
        let needed = word.len() + value.map_or(0, |value| 1 + value.len());
        let line = lines.last().map_or(0, String::len);
        if word.starts_with("--") && line + 1 + needed > WIDTH {
            lines.push("      ".to_owned());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join(" \\\n")
}

fn what_next(tour: &Tour<'_>, out: &Output) {
    let url = tour.url;
    out.line("");
    out.line(out.paint(Tone::Strong, "What to try next, in another terminal (Ctrl-C here ends the demo)"));
    out.line(format_args!("   open {url}/ in a browser"));
    let (program, policy) = (program(), tour.policies.both.display());
    for (command, what) in [
        (format!("curl {url}/checkpoint"), "what the log has signed"),
        (format!("{program} fsck {url} --policy {policy}"), "every entry, tile and the root recomputed"),
        (format!("{program} index check {url} --policy {policy}"), "every answer of its index recomputed"),
        // The demo goes on serving at the usual port.
        (
            format!("{program} serve --listen 127.0.0.1:0"),
            "a log that is yours to keep, in ./glasslog-data, at any free port",
        ),
        (format!("{program} witness"), "a witness for the logs of others, in ./glasslog-witness"),
    ] {
        out.line(format_args!("   {command}"));
        out.line(out.paint(Tone::Faint, format!("      {what}")));
    }
}

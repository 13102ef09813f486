//! The demo's two witnesses, in this process; each has a directory, keys and a memory of its own.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use futures_util::future::select_all;
use glasslog_core::note::{Algorithm, VerifierKey};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    exit::{Exit, Failed, OrExit},
    keys,
    settings::{WitnessFlags, layers::Layers, witness::WitnessSettings},
    witness::{Told, WitnessService},
};

const NAMES: [&str; 2] = ["one", "two"];

pub(super) struct Witnesses {
    told: Vec<Told>,
    running: Vec<JoinHandle<Result<(), Failed>>>,
    stop: watch::Sender<bool>,
}

/// The policy files of the tour.
pub(super) struct Policies {
    /// Both witnesses must have cosigned.
    pub(super) both: PathBuf,
    /// A third one too, which has not.
    pub(super) three: PathBuf,
}

impl Witnesses {
    /// Two witnesses that know one log.
    pub(super) async fn start(dir: &Path, log: &VerifierKey) -> Result<Witnesses, Failed> {
        let (stop, stopping) = watch::channel(false);
        let (mut told, mut running) = (Vec::new(), Vec::new());
        for name in NAMES {
            let flags = WitnessFlags::default()
                .with("listen", "127.0.0.1:0")
                .with("log", &format!("{}={log}", log.name()));
            // Whatever the environment says about other witnesses.
            let settings = Layers::of_witness(&flags, &|_| None, None)
                .and_then(|layers| {
                    WitnessSettings::resolve(&layers, Some(&dir.join(format!("witness-{name}"))))
                })
                .or_exit(Exit::Usage)?;
            let service = WitnessService::start(settings, false).await?;
            told.push(service.told.clone());
            running.push(tokio::spawn(service.run(stopping.clone(), None)));
        }
        Ok(Witnesses { told, running, stop })
    }

    /// Where they listen.
    pub(super) fn urls(&self) -> Vec<&str> {
        self.told.iter().map(|told| told.url.as_str()).collect()
    }

    /// Name, address and Ed25519 key of each.
    fn each(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        NAMES
            .iter()
            .zip(&self.told)
            .map(|(name, told)| (*name, told.url.as_str(), told.vkeys.first().map_or("", String::as_str)))
    }

    /// The setting by which the log asks them.
    pub(super) fn external(&self) -> String {
        let each = self.each().map(|(name, url, vkey)| format!("{name}={url}={vkey}"));
        each.collect::<Vec<_>>().join(",")
    }

    /// Writes what a verifier would keep: which log, which witnesses, how many of them.
    pub(super) fn write_policies(&self, dir: &Path, log: &str) -> Result<Policies, Failed> {
        let mut common = format!(
            "# c2sp.org/tlog-policy: which log to believe, and who must have cosigned it\nlog {log}\n"
        );
        for (name, url, vkey) in self.each() {
            common += &format!("witness {name} {vkey} {url}\n");
        }
        let write = |file: &str, rest: &str| {
            let path = dir.join(file);
            let written =
                File::create(&path).and_then(|mut file| file.write_all((common.clone() + rest).as_bytes()));
            written.with_context(|| format!("cannot write {}", path.display())).map(|()| path)
        };
        // Nobody keeps its secret half.
        let third = keys::generate_of_type("third.example", Algorithm::CosignatureV1)?;
        let third = third.verifier_key();
        Ok(Policies {
            both: write("policy", "group both all one two\nquorum both\n")?,
            three: write(
                "policy-of-three",
                &format!("witness three {third}\ngroup all-three all one two three\nquorum all-three\n"),
            )?,
        })
    }

    /// Completes when one of them ends although nobody asked it to.
    pub(super) async fn failed(&mut self) -> Failed {
        let (ended, _, _) = select_all(&mut self.running).await;
        match ended {
            Ok(Err(failed)) => failed,
            Ok(Ok(())) => {
                Failed::new(Exit::OwnFailure, "a witness of the demo ended by itself: please report this")
            }
            Err(panicked) => panicked.into(),
        }
    }

    /// Ends them in order; after the log, which needs them to publish its last entries.
    pub(super) async fn stop(self) -> Result<(), Failed> {
        self.stop.send_replace(true);
        for witness in self.running {
            witness.await??;
        }
        Ok(())
    }
}

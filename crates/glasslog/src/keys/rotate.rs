//! A planned change of a log's key (`glasslog key rotate`): for a while, the new key and the old one sign together.
//!
//! ```text
//! DIR/log.key             signs, and stands first in checkpoints
//! DIR/log-old.key         signs beside it, until `--finish`
//! DIR/log-next.key        of a change that was interrupted; the next `key rotate` takes it up
//! DIR/log-retired-ID.key  signed once, and no longer
//! ```
//!
//! Every step is one name in one directory, made durable before the next: whenever the power fails, the files of the two
//! signing keys hold the old one.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use clap::Args;
use glasslog_core::{
    checkpoint::VerifiedCheckpoint,
    note::{Algorithm, SecretKey, VerifierKey},
};
use glasslog_store::disk::{Disk, RealDisk};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{KEY_FILE, KeyFileError, MAX_KEY_FILE_BYTES, from_seed, load, new_seed, parse, random_number};
use crate::{
    exit::{Exit, Failed, Outcome},
    log_dir,
    output::{Output, Tone},
    serve::ServeArgs,
    settings::{LogSettings, SettingFlags},
};

/// The key that is on its way out.
pub(crate) const OLD_KEY_FILE: &str = "log-old.key";

/// The key that is on its way in.
const NEXT_KEY_FILE: &str = "log-next.key";

/// Arguments of `glasslog key rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// End the overlap: from the next start on, the old key no longer signs
    #[arg(long)]
    pub finish: bool,
    /// The log's directory [default: ./glasslog-data]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One flag for each setting.
    #[command(flatten)]
    pub settings: SettingFlags,
}

/// Why a key is not changed. Nothing was changed then, unless a file could not be written.
#[derive(Debug, thiserror::Error)]
enum RotateError {
    /// A key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The key is somewhere else.
    #[error(
        "{} holds no {KEY_FILE}: where LOG_PRIVATE_KEY gives the key, it is changed there. {BY_SETTING}", dir.display()
    )]
    NoKey {
        /// The directory.
        dir: PathBuf,
    },
    /// Two keys sign already.
    #[error(
        "the last change is not finished: {old} still signs. Once every verifier and witness has the new key, run `glasslog key rotate --finish`"
    )]
    Overlap {
        /// The key that is on its way out.
        old: Box<VerifierKey>,
    },
    /// One key signs.
    #[error("no change of the key is under way in {}: `glasslog key rotate` begins one", dir.display())]
    NoOverlap {
        /// The directory.
        dir: PathBuf,
    },
    /// Without the old key, the log could not open its own checkpoint.
    #[error(
        "the public checkpoint is not signed by {new} yet: start the log once with both keys, then finish"
    )]
    NotYetSigned {
        /// The key that is on its way in.
        new: Box<VerifierKey>,
    },
}

/// What to do when settings give the key.
const BY_SETTING: &str = "Make a new key with `glasslog key new ORIGIN --out FILE`, set LOG_PRIVATE_KEY to its text, a comma and the old \
     text, restart; once every verifier and witness has the new key, leave the old text out and restart";

#[derive(Serialize)]
struct Changed<'a> {
    vkeys: Vec<String>,
    retired: Option<&'a Path>,
}

/// Runs `glasslog key rotate`. The log may be running: what changed holds from its next start.
///
/// # Errors
///
/// [`Failed`] with 64 when there is nothing to change or settings give the key, 5 when a file cannot be read or written.
pub(super) fn run(args: RotateArgs, out: &Output) -> Outcome {
    let serve = ServeArgs { dir: args.dir, config: args.config, settings: args.settings };
    let log = &serve.one_log()?;
    if log.private_key.is_some() {
        return Err(Failed::usage(format!(
            "LOG_PRIVATE_KEY gives this log's key, so it is changed there. {BY_SETTING}"
        )));
    }
    // Refuses a file that others can read, before anything is copied from it.
    let _readable = signing_keys(&log.dir)?;
    let changed = if args.finish { finish_now(log, out) } else { begin_now(log, out) };
    changed.map_err(|error| {
        let exit = if matches!(error, RotateError::File(_)) { Exit::OwnFailure } else { Exit::Usage };
        Failed { exit, error: error.into() }
    })?;
    Ok(Exit::Ok)
}

fn begin_now(log: &LogSettings, out: &Output) -> Result<(), RotateError> {
    let (new, old) = begin(&RealDisk::private(), &log.dir, |name| {
        from_seed(name, Algorithm::Ed25519, &*new_seed()?)
            .map_err(|source| KeyFileError::NotAKey { path: log.dir.join(NEXT_KEY_FILE), source })
    })?;
    out.line(format_args!("{}  from the next start on", out.paint(Tone::Strong, &new)));
    out.line(format_args!("{old}  beside it, until `glasslog key rotate --finish`"));
    out.json(&Changed { vkeys: vec![new.to_string(), old.to_string()], retired: None });
    out.note(
        "Restart the log; then hand the new key to verifiers and witnesses, and back log.key up. docs/operate.md tells the rest.",
    );
    Ok(())
}

fn finish_now(log: &LogSettings, out: &Output) -> Result<(), RotateError> {
    let public = log_dir::public_checkpoint(log)
        .map_err(|source| KeyFileError::Io { path: log.dir.join("public"), source })?;
    let signed_by = |key: &VerifierKey| {
        public
            .as_ref()
            .is_some_and(|note| VerifiedCheckpoint::open(note, key.name(), std::slice::from_ref(key)).is_ok())
    };
    let (new, retired) = finish(&RealDisk::private(), &log.dir, signed_by)?;
    out.line(format_args!("{}  alone from the next start on", out.paint(Tone::Strong, &new)));
    out.json(&Changed { vkeys: vec![new.to_string()], retired: Some(&retired) });
    out.note(format_args!(
        "The old key is kept in {}: destroy it when nobody may ever sign with it again.",
        retired.display()
    ));
    Ok(())
}

/// The keys that sign for the log in `dir`, the current one first; none when it keeps none.
///
/// # Errors
///
/// [`KeyFileError`].
pub(crate) fn signing_keys(dir: &Path) -> Result<Vec<SecretKey>, KeyFileError> {
    let kept = |file: &str| match load(&dir.join(file)) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    };
    // In this order: a change that happens between the two reads shows its old key here or there.
    let (Some(current), old) = (kept(KEY_FILE)?, kept(OLD_KEY_FILE)?) else { return Ok(Vec::new()) };
    let old = old.filter(|old| old.verifier_key() != current.verifier_key());
    Ok(std::iter::once(current).chain(old).collect())
}

/// Makes a new key of the same origin sign, and keeps the present one beside it. Gives the new one, then the old one.
fn begin(
    disk: &dyn Disk,
    dir: &Path,
    make: impl FnOnce(&str) -> Result<SecretKey, KeyFileError>,
) -> Result<(VerifierKey, VerifierKey), RotateError> {
    let files = Files { disk, dir };
    // What an interrupted change left under its name is relied on below.
    files.sync()?;
    let (current, old) = files.signing()?;
    if let Some(old) = old.as_ref().filter(|old| old.verifier_key() != current.verifier_key()) {
        return Err(RotateError::Overlap { old: Box::new(old.verifier_key().clone()) });
    }
    let next = match files.read(NEXT_KEY_FILE)? {
        Some(next) => next,
        None => {
            let next = make(current.name())?;
            files.write_new(NEXT_KEY_FILE, &next)?;
            next
        }
    };
    if old.is_none() {
        files.write_new(OLD_KEY_FILE, &current)?;
    }
    // The only step that takes a name from a key: by now that key has another one, durably.
    files.rename(NEXT_KEY_FILE, KEY_FILE)?;
    Ok((next.verifier_key().clone(), current.verifier_key().clone()))
}

/// Puts the old key aside, once the public checkpoint is signed by the new one. Gives the new key, and where the old one is.
fn finish(
    disk: &dyn Disk,
    dir: &Path,
    signed_by: impl FnOnce(&VerifierKey) -> bool,
) -> Result<(VerifierKey, PathBuf), RotateError> {
    let files = Files { disk, dir };
    files.sync()?;
    let (current, old) = files.signing()?;
    let old = old.filter(|old| old.verifier_key() != current.verifier_key());
    let old = old.ok_or_else(|| RotateError::NoOverlap { dir: dir.to_owned() })?;
    let new = current.verifier_key().clone();
    if !signed_by(&new) {
        return Err(RotateError::NotYetSigned { new: Box::new(new) });
    }
    let retired = format!("log-retired-{:08x}.key", old.verifier_key().key_id());
    // Not by a rename, which a loss of power may cut in two: a secret key is never without a name.
    if files.read(&retired)?.is_none_or(|kept| kept.verifier_key() != old.verifier_key()) {
        files.write_new(&retired, &old)?;
    }
    files.remove(OLD_KEY_FILE)?;
    Ok((new, dir.join(retired)))
}

/// The key files of one directory.
struct Files<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
}

impl Files<'_> {
    /// The current key, and the old one if there is a file for it.
    fn signing(&self) -> Result<(SecretKey, Option<SecretKey>), RotateError> {
        let current = self.read(KEY_FILE)?.ok_or_else(|| RotateError::NoKey { dir: self.dir.to_owned() })?;
        Ok((current, self.read(OLD_KEY_FILE)?))
    }

    fn read(&self, name: &str) -> Result<Option<SecretKey>, KeyFileError> {
        let path = self.dir.join(name);
        let bytes = match self.disk.read(&path, MAX_KEY_FILE_BYTES) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(KeyFileError::Io { path, source }),
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        parse(text).map(Some).map_err(|source| KeyFileError::NotAKey { path, source })
    }

    /// Durable, whole, and only where nothing stands yet.
    fn write_new(&self, name: &str, key: &SecretKey) -> Result<(), KeyFileError> {
        let path = self.dir.join(name);
        let temporary = self.dir.join(format!("{name}.{}.tmp", random_number()?));
        let mut text = key.to_text();
        text.push('\n');
        let write = || {
            let file = self.disk.create_new(&temporary)?;
            file.write_all_at(text.as_bytes(), 0)?;
            file.sync()?;
            self.disk.rename_new(&temporary, &path)
        };
        write().map_err(|source| {
            let _best_effort = self.disk.remove(&temporary);
            KeyFileError::Io { path: path.clone(), source }
        })?;
        self.sync()
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), KeyFileError> {
        let path = self.dir.join(to);
        let renamed = self.disk.rename(&self.dir.join(from), &path);
        renamed.map_err(|source: io::Error| KeyFileError::Io { path, source })?;
        self.sync()
    }

    fn remove(&self, name: &str) -> Result<(), KeyFileError> {
        let path = self.dir.join(name);
        self.disk.remove(&path).map_err(|source| KeyFileError::Io { path, source })?;
        self.sync()
    }

    fn sync(&self) -> Result<(), KeyFileError> {
        self.disk.sync_dir(self.dir).map_err(|source| KeyFileError::Io { path: self.dir.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use glasslog_store::disk::sim::{Fault, SimDisk};

    use super::*;

    const ORIGIN: &str = "example.org/log";

    fn key(seed: u8) -> SecretKey {
        from_seed(ORIGIN, Algorithm::Ed25519, &[seed; 32]).unwrap()
    }

    /// A directory with key 1, durable.
    fn directory(seed: u64) -> (SimDisk, PathBuf) {
        let (disk, dir) = (SimDisk::new(seed), PathBuf::from("/log"));
        disk.create_dir_all(&dir).unwrap();
        Files { disk: &disk, dir: &dir }.write_new(KEY_FILE, &key(1)).unwrap();
        (disk, dir)
    }

    /// What a start on this disk signs with.
    fn signs(disk: &SimDisk, dir: &Path) -> Vec<VerifierKey> {
        let (current, old) = Files { disk, dir }.signing().unwrap();
        std::iter::once(current).chain(old).map(|key| key.verifier_key().clone()).collect()
    }

    /// Every disk that may be found when the process dies, or the power fails, before each operation of `change`.
    fn for_each_cut(
        change: impl Fn(&SimDisk, &Path) -> Result<(), RotateError>,
        check: impl Fn(&SimDisk, &Path),
    ) {
        for seed in 0..4 {
            for cut in 1.. {
                let (disk, dir) = directory(seed);
                disk.fail_at(disk.operations() + cut, Fault::Crash);
                let ended = change(&disk, &dir);
                for image in std::iter::once(disk.killed()).chain(disk.images(8)) {
                    check(&image, &dir);
                }
                if !disk.has_crashed() {
                    ended.unwrap();
                    assert!(cut > 5, "there are several operations to be cut before");
                    break;
                }
            }
        }
    }

    #[test]
    fn a_change_that_is_cut_anywhere_signs_with_the_old_key_and_is_taken_up() {
        let change = |disk: &SimDisk, dir: &Path| begin(disk, dir, |_| Ok(key(2))).map(drop);
        for_each_cut(change, |image, dir| {
            let old = key(1).verifier_key().clone();
            assert!(signs(image, dir).contains(&old), "never a log without its key");
            match begin(image, dir, |_| Ok(key(3))) {
                Ok((_, beside)) => assert_eq!(beside, old),
                Err(RotateError::Overlap { old: beside }) => assert_eq!(*beside, old),
                Err(other) => panic!("{other}"),
            }
            let both = signs(image, dir);
            assert!(both.len() == 2 && both[0] != old && both[1] == old, "{both:?}");
        });
    }

    #[test]
    fn an_end_of_the_overlap_that_is_cut_anywhere_keeps_both_keys() {
        let change = |disk: &SimDisk, dir: &Path| {
            begin(disk, dir, |_| Ok(key(2)))?;
            finish(disk, dir, |_| true).map(drop)
        };
        for_each_cut(change, |image, dir| {
            let old = key(1);
            let kept = image.files().iter().any(|(path, bytes)| {
                path.extension().is_none_or(|end| end != "tmp")
                    && std::str::from_utf8(bytes).is_ok_and(|text| {
                        parse(text).is_ok_and(|found| found.verifier_key() == old.verifier_key())
                    })
            });
            assert!(kept, "the old key's file is kept, whatever its name");
            match finish(image, dir, |_| true) {
                Ok((new, _)) => assert_eq!(signs(image, dir), [new]),
                Err(RotateError::NoOverlap { .. }) => assert!(!signs(image, dir).is_empty()),
                Err(other) => panic!("{other}"),
            }
        });
    }

    #[test]
    fn steps_in_the_wrong_order_are_refused() {
        let (disk, dir) = directory(0);
        assert!(matches!(finish(&disk, &dir, |_| true), Err(RotateError::NoOverlap { .. })));
        begin(&disk, &dir, |_| Ok(key(2))).unwrap();
        assert!(matches!(begin(&disk, &dir, |_| Ok(key(3))), Err(RotateError::Overlap { .. })));
        assert!(matches!(finish(&disk, &dir, |_| false), Err(RotateError::NotYetSigned { .. })));
        let (new, retired) = finish(&disk, &dir, |_| true).unwrap();
        assert_eq!(&new, key(2).verifier_key());
        assert!(disk.read(&retired, MAX_KEY_FILE_BYTES).is_ok());
        assert_eq!(signs(&disk, &dir), [new]);
        disk.remove(&dir.join(KEY_FILE)).unwrap();
        assert!(matches!(begin(&disk, &dir, |_| Ok(key(3))), Err(RotateError::NoKey { .. })));
    }
}

//! Signing keys: made from the system's randomness, kept in files that only their owner reads, shown by their public half.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::signature::Ed25519KeyPair;
use clap::Subcommand;
use glasslog_core::note::{Algorithm, KeyError, SecretKey, SignError, Signer, VerifierKey};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    exit::{Exit, Failed, OrExit, Outcome},
    output::{Output, Tone},
    settings::DEFAULT_DIR,
};

/// The file in a log's directory that holds its key.
pub const KEY_FILE: &str = "log.key";

/// A key text is far shorter, whatever its name.
const MAX_KEY_FILE_BYTES: u64 = 4096;

/// `glasslog key …`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make an Ed25519 key; its name is the origin of the log that will use it
    New {
        /// Name of the key, for example log.example.org/conda-forge
        name: String,
        /// File to put it into, readable by its owner alone; nothing is overwritten
        #[arg(long, value_name = "FILE", default_value = KEY_FILE)]
        out: PathBuf,
    },
    /// Show the public key that verifiers pin
    Show {
        /// The key file; by default that of the log in --dir
        file: Option<PathBuf>,
        /// The log's directory
        #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
        dir: PathBuf,
    },
}

/// Runs `glasslog key …`.
///
/// # Errors
///
/// [`Failed`] with 5 when a file cannot be read or written, 64 for a name that no key can have.
pub fn run(command: KeyCommand, out: &Output) -> Outcome {
    let (key, file) = match command {
        KeyCommand::New { name, out: file } => {
            let key = generate(&name).or_exit(Exit::Usage)?;
            save(&file, &key)?;
            out.note(format_args!(
                "The secret half is in {}: whoever has it can sign as {name}.",
                file.display()
            ));
            (key, file)
        }
        KeyCommand::Show { file, dir } => {
            let file = file.unwrap_or_else(|| dir.join(KEY_FILE));
            (load(&file)?, file)
        }
    };
    let vkey = key.verifier_key();
    out.line(out.paint(Tone::Strong, vkey));
    out.json(&Shown { name: vkey.name(), vkey: vkey.to_string(), file: &file });
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    vkey: String,
    file: &'a Path,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("cannot use the key file {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{} can be read by others (mode {mode:04o}): run `chmod 600` on it, and think about who has read it", path.display())]
    TooOpen {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds no key.
    #[error("{} does not hold one signing key (PRIVATE+KEY+name+id+base64)", path.display())]
    NotAKey {
        /// Which.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// The system has no randomness.
    #[error("no random numbers from the system: {0}")]
    Random(getrandom::Error),
}

/// A new key under `name`.
///
/// # Errors
///
/// When the name is none that a key can have, or the system has no randomness.
pub fn generate(name: &str) -> anyhow::Result<SecretKey> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(KeyFileError::Random)?;
    Ok(SecretKey::from_seed(name, Algorithm::Ed25519, &seed)?)
}

/// Writes a key that only the owner can read (0600), durably and as a whole; what stands at `path` stays.
///
/// # Errors
///
/// [`KeyFileError::Io`], with `AlreadyExists` if there is something.
pub fn save(path: &Path, key: &SecretKey) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let temporary = path.with_extension(format!("{}.tmp", random_number()?));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let mut text = key.to_text();
        text.push('\n');
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // A link, unlike a rename, never replaces a key that somebody put there meanwhile.
        std::fs::hard_link(&temporary, path)?;
        File::open(dir)?.sync_all()
    };
    let written = write();
    let _best_effort = std::fs::remove_file(&temporary);
    written.map_err(failed)
}

/// Names a temporary file that no other run has left behind: in a container every process has the same id.
fn random_number() -> Result<u64, KeyFileError> {
    getrandom::u64().map_err(KeyFileError::Random)
}

/// Reads a key file.
///
/// # Errors
///
/// [`KeyFileError`]; a file that others can read is refused.
pub fn load(path: &Path) -> Result<SecretKey, KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::TooOpen { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_KEY_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    parse(&text).map_err(|source| KeyFileError::NotAKey { path: path.to_owned(), source })
}

/// A key text, whatever white space surrounds it.
///
/// # Errors
///
/// [`KeyError`].
pub fn parse(text: &str) -> Result<SecretKey, KeyError> {
    text.trim().parse()
}

/// Signs checkpoints with aws-lc-rs.
pub struct LogSigner {
    verifier_key: VerifierKey,
    key_pair: Ed25519KeyPair,
}

impl LogSigner {
    /// The signer of a 0x01 key.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64 for a key that signs something else than notes: a witness's key never signs as a log's.
    pub fn new(key: &SecretKey) -> Result<LogSigner, Failed> {
        if key.algorithm() != Algorithm::Ed25519 {
            let name = key.name();
            return Err(Failed::usage(format!(
                "the key of {name} is a witness's; a log needs a key of type 0x01"
            )));
        }
        let key_pair = Ed25519KeyPair::from_seed_and_public_key(key.seed(), key.verifier_key().public_key())
            .map_err(|rejected| {
                Failed::usage(format!("the key of {} cannot be used: {rejected}", key.name()))
            })?;
        Ok(LogSigner { verifier_key: key.verifier_key().clone(), key_pair })
    }
}

impl Signer for LogSigner {
    fn verifier_key(&self) -> &VerifierKey {
        &self.verifier_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.key_pair.sign(message).as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use glasslog_core::note::{Ed25519Signer, Note, sign};

    use super::*;

    /// Two implementations, one signature: Ed25519 is deterministic (RFC 8032).
    #[test]
    fn aws_lc_rs_signs_as_the_portable_code_does() {
        let key = generate("example.org/log").unwrap();
        let fast = LogSigner::new(&key).unwrap();
        let note = sign("example.org/log\n0\nroot\n", &[&fast]).unwrap();
        assert_eq!(note, sign("example.org/log\n0\nroot\n", &[&Ed25519Signer::new(&key)]).unwrap());
        assert!(Note::parse(note.as_bytes()).unwrap().verify(&[key.verifier_key().clone()]).is_ok());
    }

    #[test]
    fn a_key_comes_back_from_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below").join(KEY_FILE);
        let key = generate("example.org/log").unwrap();
        save(&path, &key).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load(&path).unwrap().verifier_key(), key.verifier_key());
        assert!(save(&path, &generate("other").unwrap()).is_err(), "nothing is overwritten");
        assert_eq!(load(&path).unwrap().name(), "example.org/log");
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    /// A start that was killed while it wrote a key, and the next one with the same process id.
    #[test]
    fn what_a_killed_process_left_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEY_FILE);
        File::create(path.with_extension(format!("{}.tmp", std::process::id()))).unwrap();
        assert!(save(&path, &generate("example.org/log").unwrap()).is_ok());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEY_FILE);
        save(&path, &generate("example.org/log").unwrap()).unwrap();
        for mode in [0o644, 0o640, 0o604] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(load(&path), Err(KeyFileError::TooOpen { .. })), "{mode:o}");
        }
    }

    #[test]
    fn a_witness_key_does_not_sign_for_a_log() {
        let key = generate("example.org/log").unwrap();
        assert!(LogSigner::new(&key.rename("example.org/log", Algorithm::CosignatureV1).unwrap()).is_err());
    }
}

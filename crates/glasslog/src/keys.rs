//! Signing keys: made from the system's randomness, kept in files that only their owner reads, shown by their public half.

pub(crate) mod rotate;

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair as _, PqdsaKeyPair, UnparsedPublicKey};
use clap::Subcommand;
use glasslog_core::note::{
    Algorithm, KeyError, MlDsa44, SecretKey, SecretSeed, SignError, Signer, VerifierKey,
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    exit::{Exit, Failed, OrExit, Outcome},
    output::{Output, Tone},
    settings::DEFAULT_DIR,
};

/// The file in a log's directory that holds its key.
pub const KEY_FILE: &str = "log.key";

/// The file in a witness's directory that holds its 0x04 key.
pub const WITNESS_KEY_FILE: &str = "witness.key";

/// The file in a witness's directory that holds its 0x06 key.
pub const WITNESS_ML_DSA_KEY_FILE: &str = "witness-ml-dsa.key";

/// A key text is far shorter, whatever its name.
const MAX_KEY_FILE_BYTES: u64 = 4096;

/// `glasslog key …`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; a log's is named as its origin, a witness's as its operator likes
    New {
        /// Name of the key, for example log.example.org/conda-forge
        name: String,
        /// What it signs
        #[arg(long = "type", value_name = "TYPE", default_value = "log")]
        kind: KeyType,
        /// File to put it into, readable by its owner alone; nothing is overwritten [default: log.key, witness.key or witness-ml-dsa.key]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show the public key that verifiers pin
    Show {
        /// The key file; by default that of the log, or those of the witness, in --dir
        file: Option<PathBuf>,
        /// The directory of the log or witness
        #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
        dir: PathBuf,
    },
    /// Change a log's key: from its next start on, a new key and the old one sign together
    Rotate(Box<rotate::RotateArgs>),
}

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyType {
    /// A log's checkpoints (Ed25519, 0x01)
    Log,
    /// Timestamped cosignatures, of a witness or of a log's own cosigner (Ed25519, 0x04)
    Witness,
    /// The same, also after quantum computers (ML-DSA-44, 0x06)
    WitnessMlDsa,
}

impl KeyType {
    fn algorithm(self) -> Algorithm {
        match self {
            KeyType::Log => Algorithm::Ed25519,
            KeyType::Witness => Algorithm::CosignatureV1,
            KeyType::WitnessMlDsa => Algorithm::MlDsa44,
        }
    }

    /// The file that such a key is kept in unless another is named.
    fn file(self) -> &'static str {
        match self {
            KeyType::Log => KEY_FILE,
            KeyType::Witness => WITNESS_KEY_FILE,
            KeyType::WitnessMlDsa => WITNESS_ML_DSA_KEY_FILE,
        }
    }
}

/// Runs `glasslog key …`.
///
/// # Errors
///
/// [`Failed`] with 5 when a file cannot be read or written, 64 for a name that no key can have.
pub fn run(command: KeyCommand, out: &Output) -> Outcome {
    match command {
        KeyCommand::New { name, kind, out: file } => {
            let file = file.unwrap_or_else(|| PathBuf::from(kind.file()));
            let key = generate_of_type(&name, kind.algorithm()).or_exit(Exit::Usage)?;
            save(&file, &key)?;
            out.note(format_args!(
                "The secret half is in {}: whoever has it can sign as {name}.",
                file.display()
            ));
            show(&key, &file, out);
        }
        KeyCommand::Show { file, dir } => {
            for file in file.map_or_else(|| of_directory(&dir), |file| vec![file]) {
                show(&load(&file)?, &file, out);
            }
        }
        KeyCommand::Rotate(args) => return rotate::run(*args, out),
    }
    Ok(Exit::Ok)
}

/// The key files of a log's directory, or of a witness's.
fn of_directory(dir: &Path) -> Vec<PathBuf> {
    let log = dir.join(KEY_FILE);
    let witness = [WITNESS_KEY_FILE, WITNESS_ML_DSA_KEY_FILE].map(|file| dir.join(file));
    let found: Vec<_> = witness.into_iter().filter(|file| !log.exists() && file.exists()).collect();
    if found.is_empty() { vec![log] } else { found }
}

fn show(key: &SecretKey, file: &Path, out: &Output) {
    let vkey = key.verifier_key();
    out.line(out.paint(Tone::Strong, vkey));
    let signature_type = format!("0x{:02x}", vkey.algorithm().type_byte());
    out.json(&Shown { name: vkey.name(), signature_type, vkey: vkey.to_string(), file });
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    signature_type: String,
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

/// A new key for a log under `name`.
///
/// # Errors
///
/// When the name is none that a key can have, or the system has no randomness.
pub fn generate(name: &str) -> anyhow::Result<SecretKey> {
    generate_of_type(name, Algorithm::Ed25519)
}

/// A new key of any type under `name`.
///
/// # Errors
///
/// As [`generate`].
pub fn generate_of_type(name: &str, algorithm: Algorithm) -> anyhow::Result<SecretKey> {
    Ok(from_seed(name, algorithm, &*new_seed()?)?)
}

fn new_seed() -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(KeyFileError::Random)?;
    Ok(seed)
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

/// A key text of any type, whatever white space surrounds it.
///
/// # Errors
///
/// [`KeyError`].
pub fn parse(text: &str) -> Result<SecretKey, KeyError> {
    let read: SecretSeed = text.trim().parse()?;
    match read.algorithm() {
        Algorithm::MlDsa44 => {
            read.with_public_key(ml_dsa_pair("ML-DSA-44", read.seed())?.public_key().as_ref())
        }
        Algorithm::Ed25519 | Algorithm::CosignatureV1 => text.trim().parse(),
    }
}

/// Key texts with commas between them, in their order. A key's name may hold a comma, but no `+`.
///
/// # Errors
///
/// [`KeyError`] of the first that is none.
pub fn parse_several(text: &str) -> Result<Vec<SecretKey>, KeyError> {
    const BEGIN: &str = "PRIVATE+KEY+";
    let mut parts = text.split(BEGIN);
    if parts.next().is_none_or(|before| !before.trim().is_empty()) {
        return Err(KeyError::NotASecretKey);
    }
    let between = |c: char| c == ',' || c.is_whitespace();
    let keys: Vec<_> = parts
        .map(|part| parse(&Zeroizing::new([BEGIN, part.trim_end_matches(between)].concat())))
        .collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(KeyError::NotASecretKey) } else { Ok(keys) }
}

/// Checks ML-DSA-44 signatures with aws-lc-rs.
pub struct AwsLcMlDsa;

/// The one that every policy of this program is checked by.
pub static ML_DSA: AwsLcMlDsa = AwsLcMlDsa;

impl MlDsa44 for AwsLcMlDsa {
    fn verify(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&signature::ML_DSA_44, public_key).verify(message, signature).is_ok()
    }
}

/// The key that `seed` gives under `name`, whatever its type.
///
/// # Errors
///
/// [`KeyError`].
pub fn from_seed(name: &str, algorithm: Algorithm, seed: &[u8; 32]) -> Result<SecretKey, KeyError> {
    if algorithm != Algorithm::MlDsa44 {
        return SecretKey::from_seed(name, algorithm, seed);
    }
    let pair = ml_dsa_pair(name, seed)?;
    SecretKey::from_halves(name, algorithm, seed, pair.public_key().as_ref())
}

fn ml_dsa_pair(name: &str, seed: &[u8; 32]) -> Result<PqdsaKeyPair, KeyError> {
    PqdsaKeyPair::from_seed(&signature::ML_DSA_44_SIGNING, seed).map_err(|_| KeyError::Material(name.into()))
}

/// Signs with aws-lc-rs, whatever the key's type.
pub struct KeySigner {
    verifier_key: VerifierKey,
    key_pair: KeyPair,
}

enum KeyPair {
    Ed25519(Box<Ed25519KeyPair>),
    MlDsa44(PqdsaKeyPair),
}

impl KeySigner {
    fn new(key: &SecretKey) -> Result<KeySigner, Failed> {
        let rejected = |why: &dyn std::fmt::Display| {
            Failed::usage(format!("the key of {} cannot be used: {why}", key.name()))
        };
        let key_pair = match key.algorithm() {
            Algorithm::MlDsa44 => {
                KeyPair::MlDsa44(ml_dsa_pair(key.name(), key.seed()).map_err(|why| rejected(&why))?)
            }
            Algorithm::Ed25519 | Algorithm::CosignatureV1 => {
                let public_key = key.verifier_key().public_key();
                let pair = Ed25519KeyPair::from_seed_and_public_key(key.seed(), public_key);
                KeyPair::Ed25519(Box::new(pair.map_err(|why| rejected(&why))?))
            }
        };
        Ok(KeySigner { verifier_key: key.verifier_key().clone().checked_by(&ML_DSA), key_pair })
    }
}

impl Signer for KeySigner {
    fn verifier_key(&self) -> &VerifierKey {
        &self.verifier_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.key_pair {
            KeyPair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            KeyPair::MlDsa44(pair) => {
                let mut signature = vec![0; signature::ML_DSA_44_SIGNING.signature_len()];
                let failed = |_| SignError::Failed {
                    name: self.verifier_key.name().into(),
                    reason: "aws-lc refused to sign".into(),
                };
                let length = pair.sign(message, &mut signature).map_err(failed)?;
                signature.truncate(length);
                Ok(signature)
            }
        }
    }
}

/// The signer of a log's checkpoints: a 0x01 key.
///
/// # Errors
///
/// [`Failed`] with 64 for a key that signs something else than notes: a witness's key never signs as a log's.
pub fn log_signer(key: &SecretKey) -> Result<KeySigner, Failed> {
    if key.algorithm() != Algorithm::Ed25519 {
        let name = key.name();
        return Err(Failed::usage(format!(
            "the key of {name} is a witness's; a log needs a key of type 0x01"
        )));
    }
    KeySigner::new(key)
}

/// The signer of cosignatures. A key text of type 0x01 names the seed of a 0x04 key of that name: it never signs as 0x01.
///
/// # Errors
///
/// [`Failed`] with 64 for a key that cannot be used.
pub fn cosigner(key: &SecretKey) -> Result<KeySigner, Failed> {
    match key.algorithm() {
        Algorithm::Ed25519 => {
            KeySigner::new(&key.rename(key.name(), Algorithm::CosignatureV1).or_exit(Exit::Usage)?)
        }
        Algorithm::CosignatureV1 | Algorithm::MlDsa44 => KeySigner::new(key),
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
        let fast = log_signer(&key).unwrap();
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
        assert!(log_signer(&key.rename("example.org/log", Algorithm::CosignatureV1).unwrap()).is_err());
    }

    /// "A 0x01 key text given to a witness never signs as 0x01."
    #[test]
    fn a_log_key_text_cosigns_as_0x04() {
        let key = generate("witness.example").unwrap();
        let signer = cosigner(&key).unwrap();
        assert_eq!(signer.verifier_key().algorithm(), Algorithm::CosignatureV1);
        assert_eq!(signer.verifier_key().public_key(), key.verifier_key().public_key());
    }

    #[test]
    fn several_key_texts_stand_in_one_setting() {
        let (a, b) = (generate("a,b").unwrap(), generate_of_type("c", Algorithm::MlDsa44).unwrap());
        let text = format!(" {},\n {} ", a.to_text().as_str(), b.to_text().as_str());
        let vkeys: Vec<_> =
            parse_several(&text).unwrap().iter().map(|key| key.verifier_key().clone()).collect();
        assert_eq!(vkeys, [a.verifier_key().clone(), b.verifier_key().clone()]);
        for wrong in ["", " ", "x", "x,PRIVATE+KEY+a", "PRIVATE+KEY+a+00000000+AAAA", &text.replace('+', "")]
        {
            assert!(parse_several(wrong).is_err(), "{wrong}");
        }
    }

    /// aws-lc-rs signs, the `ml-dsa` crate derives the same key from the seed and agrees; and the other way round.
    #[test]
    fn ml_dsa_agrees_with_another_implementation() {
        use glasslog_core::cosignature::{cosign, verify};
        use ml_dsa::signature::Keypair;
        const TEXT: &str = "example.org/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

        let key = from_seed("witness.example", Algorithm::MlDsa44, &[7; 32]).unwrap();
        let theirs = ml_dsa::SigningKey::<ml_dsa::MlDsa44>::from_seed(&[7; 32].into());
        assert_eq!(key.verifier_key().public_key(), theirs.verifying_key().encode().as_slice());
        assert_eq!(parse(&key.to_text()).unwrap().verifier_key(), key.verifier_key());

        let line = cosign(TEXT, 5, &cosigner(&key).unwrap()).unwrap();
        let ours = key.verifier_key().clone().checked_by(&ML_DSA);
        assert_eq!(verify(TEXT, &line, &ours).unwrap().time(), 5);
        let message = glasslog_core::cosignature::subtree_message(
            "witness.example",
            5,
            "example.org/log",
            glasslog_core::TreeSize(0)..glasslog_core::TreeSize(0),
            &glasslog_core::Hash::EMPTY_ROOT,
        )
        .unwrap();
        let signature = ml_dsa::Signature::try_from(&line.bytes()[8..]).unwrap();
        assert!(theirs.verifying_key().verify_with_context(&message, &[], &signature));
        let theirs = theirs.expanded_key().sign_deterministic(&message, &[]).unwrap().encode();
        assert!(ML_DSA.verify(key.verifier_key().public_key(), &message, theirs.as_slice()));
        assert!(!ML_DSA.verify(key.verifier_key().public_key(), b"other", theirs.as_slice()));
    }
}

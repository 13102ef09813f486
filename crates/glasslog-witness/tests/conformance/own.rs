//! This workspace's own witness, started in this process. The only module that calls glasslog's code.

use std::{num::NonZeroU32, sync::Arc};

use aws_lc_rs::signature::{ML_DSA_44, ML_DSA_44_SIGNING, PqdsaKeyPair, UnparsedPublicKey};
use glasslog_core::note::{Algorithm, Ed25519Signer, MlDsa44, SecretKey, SignError, Signer, VerifierKey};
use glasslog_witness::{
    About, Limits, WitnessConfig,
    decide::LogKeys,
    logs::{KnownLog, LogTable, Source},
    state::{SqliteOptions, SqliteWitnessState},
    system_clock,
};

use crate::logs::{Log, queries_per_day};

const NAME: &str = "witness.conformance.example/w";

/// Starts it for the rest of this process: its URL and vkeys.
pub(crate) fn start() -> (String, Vec<String>) {
    let ed25519 = SecretKey::from_seed(NAME, Algorithm::CosignatureV1, &[41; 32]).unwrap();
    let signers: Vec<Arc<dyn Signer>> = vec![Arc::new(Ed25519Signer::new(&ed25519)), Arc::new(AwsLc::new())];
    let keys: Vec<VerifierKey> = signers.iter().map(|signer| signer.verifier_key().clone()).collect();
    let vkeys = keys.iter().map(ToString::to_string).collect();
    let logs = LogTable::new(&keys, Some(&Checker));
    logs.configure(Log::all().iter().map(known).collect()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || serve(listener, signers, logs));
    (url, vkeys)
}

fn known(log: &Log) -> KnownLog {
    let keys = log.vkeys().iter().map(|vkey| vkey.parse().unwrap()).collect();
    KnownLog {
        keys: LogKeys::new(&log.origin, keys).unwrap(),
        qpd: NonZeroU32::new(queries_per_day(log.name)),
        disabled: false,
        source: Source::Settings,
    }
}

fn serve(listener: std::net::TcpListener, signers: Vec<Arc<dyn Signer>>, logs: LogTable) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let state = SqliteWitnessState::open(&dir.path().join("witness.db"), SqliteOptions::default()).unwrap();
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let config = WitnessConfig {
            listener: tokio::net::TcpListener::from_std(listener).unwrap(),
            metrics_listener: None,
            bastions: None,
            signers,
            state: Arc::new(state),
            logs,
            about: About::default(),
            limits: Limits::default(),
            trusted_proxies: Vec::new(),
            clock: system_clock(),
        };
        glasslog_witness::run(config, std::future::pending::<()>()).await.unwrap();
    });
}

/// ML-DSA-44 by aws-lc, so that what the suite checks with `ml-dsa` was not made by it.
struct AwsLc {
    verifier_key: VerifierKey,
    pair: PqdsaKeyPair,
}

impl AwsLc {
    fn new() -> AwsLc {
        use aws_lc_rs::signature::KeyPair as _;
        let pair = PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, &[42; 32]).unwrap();
        let public = pair.public_key().as_ref();
        AwsLc { verifier_key: VerifierKey::new(NAME, Algorithm::MlDsa44, public).unwrap(), pair }
    }
}

impl Signer for AwsLc {
    fn verifier_key(&self) -> &VerifierKey {
        &self.verifier_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; ML_DSA_44_SIGNING.signature_len()];
        self.pair.sign(message, &mut signature).unwrap();
        Ok(signature)
    }
}

struct Checker;

impl MlDsa44 for Checker {
    fn verify(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ML_DSA_44, public_key).verify(message, signature).is_ok()
    }
}

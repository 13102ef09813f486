//! `POST /sign-subtree` over HTTP: checks 58 to 63 of tlog-witness. Hashes and proofs are computed here, word for word from
//! draft-ietf-plants-merkle-tree-certs; the cosignatures are checked by the `ml-dsa` crate and aws-lc-rs makes them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests may fail like tests"
)]

use std::{net::SocketAddr, num::NonZeroU32, ops::Range, sync::Arc};

use aws_lc_rs::signature::{KeyPair as _, ML_DSA_44, ML_DSA_44_SIGNING, PqdsaKeyPair, UnparsedPublicKey};
use base64ct::{Base64, Encoding};
use bytes::Bytes;
use futures_util::future::join_all;
use glasslog_core::{
    Hash, TreeSize,
    checkpoint::Checkpoint,
    cosignature::{cosign, cosign_subtree},
    hash::{leaf_hash, node_hash},
    note::{
        Algorithm, Ed25519Signer, MlDsa44, SecretKey, SignError, Signature, Signer, VerifierKey, sign_line,
    },
};
use glasslog_witness::{
    About, Limits, Rate, WitnessConfig, WitnessError,
    decide::LogKeys,
    logs::{KnownLog, LogTable, Source},
    run,
    state::MemoryWitnessState,
};
use http::{Method, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

const ORIGIN: &str = "example.com/log";
const NAME: &str = "witness.example/w1";
const NOW: u64 = 1_790_000_000;

struct AwsLc;

static AWS_LC: AwsLc = AwsLc;

impl MlDsa44 for AwsLc {
    fn verify(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ML_DSA_44, public_key).verify(message, signature).is_ok()
    }
}

struct MlDsaSigner {
    pair: PqdsaKeyPair,
    key: VerifierKey,
}

impl Signer for MlDsaSigner {
    fn verifier_key(&self) -> &VerifierKey {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; ML_DSA_44_SIGNING.signature_len()];
        self.pair.sign(message, &mut signature).unwrap();
        Ok(signature)
    }
}

fn ml_dsa(name: &str, seed: u8) -> MlDsaSigner {
    let pair = PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, &[seed; 32]).unwrap();
    let key = VerifierKey::new(name, Algorithm::MlDsa44, pair.public_key().as_ref()).unwrap();
    MlDsaSigner { pair, key }
}

fn ed25519(name: &str, algorithm: Algorithm, seed: u8) -> Ed25519Signer {
    Ed25519Signer::new(&SecretKey::from_seed(name, algorithm, &[seed; 32]).unwrap())
}

fn log() -> Ed25519Signer {
    ed25519(ORIGIN, Algorithm::Ed25519, 1)
}

/// The witness's own keys: 0x06 and 0x04.
fn own() -> (MlDsaSigner, Ed25519Signer) {
    (ml_dsa(NAME, 2), ed25519(NAME, Algorithm::CosignatureV1, 3))
}

/// MTH of the leaves `range`, leaf `i` being the byte `i`.
fn mth(range: Range<u8>) -> Hash {
    if range.len() == 1 {
        return leaf_hash(&[range.start]);
    }
    let (left, right) = split(&range);
    node_hash(&mth(left), &mth(right))
}

fn split(range: &Range<u8>) -> (Range<u8>, Range<u8>) {
    let middle = range.start + u8::try_from(range.len().next_power_of_two() / 2).unwrap();
    (range.start..middle, middle..range.end)
}

/// SUBTREE_SUBPROOF of the draft, §4.4.1.
fn subproof(range: Range<u8>, tree: Range<u8>, known: bool) -> Vec<Hash> {
    if range == tree {
        return if known { vec![] } else { vec![mth(tree)] };
    }
    let (left, right) = split(&tree);
    if range.end <= left.end {
        [subproof(range, left, known), vec![mth(right)]].concat()
    } else if right.start <= range.start {
        [subproof(range, right, known), vec![mth(left)]].concat()
    } else {
        [subproof(right.start..range.end, right, false), vec![mth(left)]].concat()
    }
}

fn checkpoint(size: u8) -> String {
    Checkpoint::new(ORIGIN, TreeSize(size.into()), mth(0..size)).to_text()
}

fn note(text: &str, lines: &[Signature]) -> String {
    lines.iter().fold(format!("{text}\n"), |note, line| note + &format!("{line}\n"))
}

/// A reference checkpoint that the witness's ML-DSA key cosigned.
fn reference(size: u8) -> String {
    let text = checkpoint(size);
    note(&text, &[cosign(&text, NOW, &own().0).unwrap()])
}

fn body(range: &str, hash: &Hash, proof: &[Hash], reference: &str) -> String {
    let lines: String = std::iter::once(hash)
        .chain(proof)
        .map(|hash| format!("{}\n", Base64::encode_string(hash.as_bytes())))
        .collect();
    format!("subtree {range}\n{lines}\n{reference}")
}

/// The request for `range` of the tree of `size`.
fn good(range: Range<u8>, size: u8) -> String {
    let text = format!("{} {}", range.start, range.end);
    body(&text, &mth(range.clone()), &subproof(range, 0..size, true), &reference(size))
}

fn known() -> KnownLog {
    let keys = LogKeys::new(ORIGIN, vec![log().verifier_key().clone()]).unwrap();
    KnownLog { keys, qpd: None, disabled: false, source: Source::Settings }
}

struct Witness {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), WitnessError>>,
}

impl Witness {
    async fn start(signers: Vec<Arc<dyn Signer>>, disabled: bool, limits: Limits) -> Witness {
        Witness::of(signers, KnownLog { disabled, ..known() }, limits).await
    }

    async fn of(signers: Vec<Arc<dyn Signer>>, log: KnownLog, limits: Limits) -> Witness {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keys: Vec<_> = signers.iter().map(|signer| signer.verifier_key().clone()).collect();
        let logs = LogTable::new(&keys, Some(&AWS_LC));
        logs.configure(vec![log]).unwrap();
        let config = WitnessConfig {
            listener,
            metrics_listener: None,
            bastions: None,
            signers,
            state: Arc::new(MemoryWitnessState::default()),
            logs,
            about: About::default(),
            limits,
            trusted_proxies: vec![],
            clock: Arc::new(|| NOW),
        };
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(run(config, async move { drop(stopped.await) }));
        Witness { address, stop, running }
    }

    async fn with_all_keys() -> Witness {
        let (ml_dsa, ed25519) = own();
        Witness::start(vec![Arc::new(ml_dsa), Arc::new(ed25519)], false, Limits::default()).await
    }

    async fn ask(&self, method: Method, path: &str, body: impl Into<Bytes>) -> (StatusCode, String) {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let (mut requests, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", "witness");
        let answer = requests.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (status, kind) = (answer.status(), answer.headers()[CONTENT_TYPE].clone());
        assert_eq!(kind, "text/plain; charset=utf-8");
        let text =
            String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        drop(requests);
        connection.await.unwrap().unwrap();
        (status, text)
    }

    async fn sign(&self, body: impl Into<Bytes>) -> (StatusCode, String) {
        self.ask(Method::POST, "/sign-subtree", body).await
    }

    async fn refuses(&self, body: String, status: StatusCode, why: &str) {
        let (found, message) = self.sign(body).await;
        assert_eq!(found, status, "{why}: {message}");
        assert!(message.lines().count() == 1 && !message.starts_with('—'), "{why}: {message:?}");
    }

    async fn finish(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }
}

/// The message of a subtree cosignature, laid out here as tlog-cosignature prints it.
fn message(range: &Range<u8>) -> Vec<u8> {
    let opaque = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let number = |number: u8| u64::from(number).to_be_bytes();
    [
        &b"subtree/v1\n\0"[..],
        &opaque(NAME),
        &number(0),
        &opaque(ORIGIN),
        &number(range.start),
        &number(range.end),
        mth(range.clone()).as_bytes(),
    ]
    .concat()
}

/// One 0x06 line of the witness, without a time, that another implementation verifies.
fn assert_cosigned(lines: &str, range: &Range<u8>) {
    let lines = Signature::parse_lines(lines.as_bytes()).unwrap();
    let [line] = lines.as_slice() else { panic!("{} lines", lines.len()) };
    assert!(line.is_of(&own().0.key));
    assert_eq!(line.bytes().len(), 8 + 2420);
    assert_eq!(line.bytes()[..8], [0; 8]);
    let key = ml_dsa::VerifyingKey::<ml_dsa::MlDsa44>::decode(own().0.key.public_key().try_into().unwrap());
    let signature = ml_dsa::Signature::try_from(&line.bytes()[8..]).unwrap();
    assert!(key.verify_with_context(&message(range), &[], &signature), "{range:?}");
}

/// Check 58.
#[tokio::test]
async fn every_subtree_of_a_checkpoint_that_was_cosigned() {
    let witness = Witness::with_all_keys().await;
    let (status, lines) = witness.sign(good(8..13, 14)).await;
    assert_eq!(status, StatusCode::OK, "{lines}");
    assert_cosigned(&lines, &(8..13));
    for size in [1, 2, 7, 14] {
        for end in 1..=size {
            for start in (0..end).filter(|start| {
                usize::from(*start).is_multiple_of(usize::from(end - start).next_power_of_two())
            }) {
                let (status, lines) = witness.sign(good(start..end, size)).await;
                assert_eq!(status, StatusCode::OK, "[{start}, {end}) of {size}: {lines}");
                assert_cosigned(&lines, &(start..end));
            }
        }
    }
    witness.finish().await;
}

/// Check 62: what add-checkpoint answered is enough, and stays so when the log has grown.
#[tokio::test]
async fn an_old_checkpoint_still_serves() {
    let witness = Witness::with_all_keys().await;
    let mut answered = Vec::new();
    for (old, new) in [(0, 14), (14, 20)] {
        let text = checkpoint(new);
        let signed = note(&text, &[sign_line(&text, &log()).unwrap()]);
        let proof: String = if old == 0 { vec![] } else { subproof(0..old, 0..new, true) }
            .iter()
            .map(|hash| format!("{}\n", Base64::encode_string(hash.as_bytes())))
            .collect();
        let (status, lines) =
            witness.ask(Method::POST, "/add-checkpoint", format!("old {old}\n{proof}\n{signed}")).await;
        assert_eq!((status, lines.lines().count()), (StatusCode::OK, 2), "{lines}");
        answered.push(format!("{signed}{lines}"));
    }
    let whole = body("0 14", &mth(0..14), &[], &answered[0]);
    let (status, lines) = witness.sign(whole).await;
    assert_eq!(status, StatusCode::OK, "{lines}");
    assert_cosigned(&lines, &(0..14));
    let (status, lines) =
        witness.sign(body("8 13", &mth(8..13), &subproof(8..13, 0..20, true), &answered[1])).await;
    assert_eq!(status, StatusCode::OK, "{lines}");
    assert_cosigned(&lines, &(8..13));
    witness.finish().await;
}

/// Check 59. What else can be malformed is the parser's: `glasslog_core::subtree`.
#[tokio::test]
async fn a_request_that_is_none() {
    let witness = Witness::with_all_keys().await;
    let (hash, proof, reference) = (mth(8..13), subproof(8..13, 0..14, true), reference(14));
    let ranges = [
        "08 13",
        "8  13",
        "+8 13",
        "8",
        "13 8",
        "1 3",
        "2 6",
        "5 13",
        "8 15",
        "8 13 ",
        "",
        "8 8",
        "0 18446744073709551616",
        "18446744073709551615 18446744073709551615",
    ];
    for range in ranges {
        witness.refuses(body(range, &hash, &proof, &reference), StatusCode::BAD_REQUEST, range).await;
    }
    let bad = |from: &str, to: &str| good(8..13, 14).replacen(from, to, 1);
    witness.refuses(bad("subtree", "Subtree"), StatusCode::BAD_REQUEST, "another word").await;
    witness.refuses(bad("=\n", "\n"), StatusCode::BAD_REQUEST, "a hash without padding").await;
    witness.refuses(bad("\n\n", "\n"), StatusCode::BAD_REQUEST, "no empty line").await;
    witness.refuses(bad("\n14\n", "\n014\n"), StatusCode::BAD_REQUEST, "a size with a leading zero").await;
    witness.refuses(good(8..13, 14).trim_end().to_owned(), StatusCode::BAD_REQUEST, "no final newline").await;
    witness.refuses(String::new(), StatusCode::BAD_REQUEST, "nothing").await;
    let many = body("8 13", &hash, &[hash; 64], &reference);
    witness.refuses(many, StatusCode::BAD_REQUEST, "64 proof lines").await;
    let status = witness.sign(vec![b'x'; 2 << 20]).await.0;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    for method in [Method::GET, Method::PUT, Method::OPTIONS] {
        assert_eq!(witness.ask(method, "/sign-subtree", "").await.0, StatusCode::METHOD_NOT_ALLOWED);
    }
    witness.finish().await;
}

/// Check 60.
#[tokio::test]
async fn a_checkpoint_that_this_witness_did_not_cosign() {
    let witness = Witness::with_all_keys().await;
    let ask = |text: &str, lines: &[Signature]| {
        body("8 13", &mth(8..13), &subproof(8..13, 0..14, true), &note(text, lines))
    };
    let text = checkpoint(14);
    let (ml_dsa_key, ed25519_key) = own();
    let good = cosign(&text, NOW, &ml_dsa_key).unwrap();
    let of_log = sign_line(&text, &log()).unwrap();
    let with_ed25519 = cosign(&text, NOW, &ed25519_key).unwrap();
    let of_other_text = cosign(&checkpoint(15), NOW, &ml_dsa_key).unwrap();
    let bad_ed25519 = cosign(&checkpoint(15), NOW, &ed25519_key).unwrap();
    let same_name = cosign(&text, NOW, &ml_dsa(NAME, 9)).unwrap();
    let stranger = cosign(&text, NOW, &ml_dsa("stranger.example/w", 9)).unwrap();
    let of_subtree = cosign_subtree(ORIGIN, TreeSize(8)..TreeSize(14), &mth(8..14), &ml_dsa_key).unwrap();

    let cases = [
        ("only the log signed", vec![of_log.clone()]),
        ("another witness cosigned", vec![of_log.clone(), stranger.clone()]),
        ("another key of that name cosigned", vec![same_name]),
        ("the cosignature is of another checkpoint", vec![of_other_text]),
        ("the cosignature is of a subtree", vec![of_subtree]),
        ("the cosignature is Ed25519, and one of ML-DSA must not rest on it", vec![with_ed25519.clone()]),
        ("one own cosignature is good and one is wrong", vec![good.clone(), bad_ed25519]),
    ];
    for (why, lines) in cases {
        witness.refuses(ask(&text, &lines), StatusCode::FORBIDDEN, why).await;
    }
    for lines in [vec![good.clone()], vec![stranger, of_log, with_ed25519, good.clone()]] {
        assert_eq!(witness.sign(ask(&text, &lines)).await.0, StatusCode::OK);
    }

    let other = text.replacen(ORIGIN, "example.com/other", 1);
    let other_line = cosign(&other, NOW, &ml_dsa_key).unwrap();
    witness.refuses(ask(&other, &[other_line]), StatusCode::NOT_FOUND, "an unknown log").await;
    witness
        .refuses(
            ask(&other, std::slice::from_ref(&good)),
            StatusCode::NOT_FOUND,
            "an unknown log, not cosigned",
        )
        .await;
    witness.finish().await;

    let refusing = Witness::start(vec![Arc::new(ml_dsa_key)], true, Limits::default()).await;
    refusing.refuses(ask(&text, &[good]), StatusCode::FORBIDDEN, "a log that is disabled").await;
    refusing.finish().await;
}

/// Check 61.
#[tokio::test]
async fn a_subtree_that_is_not_proven() {
    let witness = Witness::with_all_keys().await;
    let (hash, proof, reference) = (mth(8..13), subproof(8..13, 0..14, true), reference(14));
    let mut changed = proof.clone();
    changed[3].0[0] ^= 1;
    let cases = [
        ("the hash is another one", body("8 13", &mth(8..12), &proof, &reference)),
        ("the proof is empty", body("8 13", &hash, &[], &reference)),
        ("a hash is missing", body("8 13", &hash, &proof[..3], &reference)),
        ("a hash too many", body("8 13", &hash, &[proof.clone(), vec![hash]].concat(), &reference)),
        ("a hash is changed", body("8 13", &hash, &changed, &reference)),
        ("it is another subtree", body("0 5", &hash, &proof, &reference)),
        ("63 hashes", body("8 13", &hash, &[hash; 63], &reference)),
        ("the whole tree needs no proof", body("0 14", &mth(0..14), &[hash], &reference)),
    ];
    for (why, request) in cases {
        witness.refuses(request, StatusCode::UNPROCESSABLE_ENTITY, why).await;
    }
    // The checkpoint is judged first.
    let unsigned = note(&checkpoint(14), &[sign_line(&checkpoint(14), &log()).unwrap()]);
    witness
        .refuses(body("8 13", &hash, &[], &unsigned), StatusCode::FORBIDDEN, "neither signed nor proven")
        .await;
    witness.finish().await;
}

#[tokio::test]
async fn a_witness_without_such_a_key_has_no_such_path() {
    let witness = Witness::start(vec![Arc::new(own().1)], false, Limits::default()).await;
    assert_eq!(witness.sign(good(8..13, 14)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(witness.ask(Method::GET, "/sign-subtree", "").await.0, StatusCode::NOT_FOUND);
    witness.finish().await;
}

/// One in a second: of thirty at once some are too many, unless they take half a minute.
#[tokio::test]
async fn rates_hold_here_too() {
    let one = Rate::new(1, 1);
    for limits in
        [Limits { client_rate: one, ..Limits::default() }, Limits { global_rate: one, ..Limits::default() }]
    {
        let witness = Witness::start(vec![Arc::new(own().0)], false, limits).await;
        let answers = join_all((0..30).map(|_| witness.sign(good(0..1, 1)))).await;
        let with = |status| answers.iter().filter(|(found, _)| *found == status).count();
        let (signed, limited) = (with(StatusCode::OK), with(StatusCode::TOO_MANY_REQUESTS));
        assert!(signed > 0 && limited > 0 && signed + limited == 30, "{answers:?}");
        witness.finish().await;
    }
}

/// Anybody can ask for parts of a public checkpoint; that uses up nothing that the log needs.
#[tokio::test]
async fn subtrees_have_a_budget_of_their_own() {
    let (ml_dsa, ed25519) = own();
    let log_of_one = KnownLog { qpd: NonZeroU32::new(1), ..known() };
    let signers: Vec<Arc<dyn Signer>> = vec![Arc::new(ml_dsa), Arc::new(ed25519)];
    let witness = Witness::of(signers, log_of_one, Limits::default()).await;
    assert_eq!(witness.sign(good(8..13, 14)).await.0, StatusCode::OK);
    witness.refuses(good(8..13, 14), StatusCode::TOO_MANY_REQUESTS, "one a day").await;
    let text = checkpoint(14);
    let signed = note(&text, &[sign_line(&text, &log()).unwrap()]);
    let add = |request: String| witness.ask(Method::POST, "/add-checkpoint", request);
    assert_eq!(add(format!("old 0\n\n{signed}")).await.0, StatusCode::OK);
    let extended = format!("{text}another text\n");
    let signed = note(&extended, &[sign_line(&extended, &log()).unwrap()]);
    assert_eq!(add(format!("old 14\n\n{signed}")).await.0, StatusCode::OK, "a refresh");
    witness.finish().await;
}

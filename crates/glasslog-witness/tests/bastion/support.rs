//! A bastion that does what a test tells it, and a handler that says what it was asked.

use std::{
    net::{IpAddr, Shutdown},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use bytes::Bytes;
use glasslog_http::{
    UnreadBody,
    answer::{Answer, TEXT, uncached},
    serve::Handler,
};
use glasslog_witness::bastion::{BackendKey, BastionAddress, BastionClient, BastionLimits, Bastions};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyIdMethod, PKCS_ED25519, PublicKeyData,
    SignatureAlgorithm, SigningKey,
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme, SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs::default_provider, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    version::TLS13,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Barrier, Semaphore, watch},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Longer than anything here takes: a test that waits in vain fails by name.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("this never happened")
}

/// Impatient where it saves time, and never where a slow machine could lose a test.
pub(crate) fn limits() -> BastionLimits {
    BastionLimits {
        retry: (Duration::from_millis(5), Duration::from_millis(50)),
        connect_timeout: PATIENCE,
        drain_timeout: PATIENCE,
        ..BastionLimits::default()
    }
}

pub(crate) fn key() -> BackendKey {
    BackendKey::from_seed(&[7; 32]).unwrap()
}

/// A certificate authority that only tests trust.
pub(crate) struct Authority {
    pub(crate) root: CertificateDer<'static>,
    issuer: Issuer<'static, Pair>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        Authority::named("authority")
    }

    pub(crate) fn named(name: &str) -> Authority {
        let mut params = params(vec![]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pair = Pair(Ed25519KeyPair::generate().unwrap());
        let root = params.self_signed(&pair).unwrap().der().clone();
        Authority { root, issuer: Issuer::new(params, pair) }
    }

    /// A certificate for `name`, and its secret key as PKCS#8.
    pub(crate) fn certify(&self, name: &str) -> (CertificateDer<'static>, Vec<u8>) {
        let pair = Pair(Ed25519KeyPair::generate().unwrap());
        let certificate = params(vec![name.to_owned()]).signed_by(&pair, &self.issuer).unwrap();
        (certificate.der().clone(), pair.0.to_pkcs8v1().unwrap().as_ref().to_vec())
    }
}

fn params(names: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(names).unwrap();
    params.serial_number = Some(1.into());
    params.key_identifier_method = KeyIdMethod::PreSpecified(vec![1]);
    params
}

struct Pair(Ed25519KeyPair);

impl PublicKeyData for Pair {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for Pair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

/// How a bastion of the tests speaks TLS.
pub(crate) struct Tls<'a> {
    pub(crate) authority: &'a Authority,
    pub(crate) name: &'a str,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    pub(crate) alpn: &'static [&'static [u8]],
    pub(crate) accepts_backend: bool,
}

impl Tls<'_> {
    pub(crate) fn good(authority: &Authority) -> Tls<'_> {
        let alpn: &'static [&'static [u8]] = &[b"bastion/0"];
        Tls { authority, name: "127.0.0.1", versions: vec![&TLS13], alpn, accepts_backend: true }
    }

    pub(crate) fn acceptor(self) -> TlsAcceptor {
        let (certificate, secret) = self.authority.certify(self.name);
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(secret));
        let provider = Arc::new(default_provider());
        let judge = AnyEd25519 { provider: provider.clone(), accepts: self.accepts_backend };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_client_cert_verifier(Arc::new(judge))
            .with_single_cert(vec![certificate], secret)
            .unwrap();
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Takes any client certificate, or none, and lets rustls check that the client has its key.
#[derive(Debug)]
struct AnyEd25519 {
    provider: Arc<CryptoProvider>,
    accepts: bool,
}

impl ClientCertVerifier for AnyEd25519 {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        assert!(intermediates.is_empty(), "a certificate that signs itself stands alone");
        if self.accepts {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        panic!("a backend never gets so far in TLS 1.2")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// A port on which a bastion can be, as the test wishes.
pub(crate) struct Port(TcpListener);

impl Port {
    pub(crate) async fn open() -> Port {
        Port(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn address(&self) -> BastionAddress {
        self.0.local_addr().unwrap().to_string().parse().unwrap()
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        soon(self.0.accept()).await.unwrap().0
    }

    /// The next backend that connects.
    pub(crate) async fn tls(&self, acceptor: &TlsAcceptor) -> std::io::Result<TlsStream<TcpStream>> {
        soon(acceptor.accept(self.tcp().await)).await
    }

    /// The next backend that connects, ready to be asked.
    pub(crate) async fn backend(&self, acceptor: &TlsAcceptor) -> Backend {
        let socket = self.tcp().await.into_std().unwrap();
        let same = TcpStream::from_std(socket.try_clone().unwrap()).unwrap();
        let stream = soon(acceptor.accept(same)).await.unwrap();
        let (requests, connection) =
            soon(http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await.unwrap();
        Backend { requests, connection: tokio::spawn(connection), socket }
    }
}

/// The bastion's end of a connection.
pub(crate) struct Backend {
    pub(crate) requests: http2::SendRequest<Full<Bytes>>,
    pub(crate) connection: JoinHandle<hyper::Result<()>>,
    socket: std::net::TcpStream,
}

impl Backend {
    /// As if the cable were pulled.
    pub(crate) fn cut(&self) {
        self.socket.shutdown(Shutdown::Both).unwrap();
    }

    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        soon(self.requests.clone().send_request(request)).await
    }

    /// What the answer to a request for `path` says.
    pub(crate) async fn get(&self, path: &str) -> String {
        text(self.ask(get(path)).await.unwrap()).await
    }
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    request(Method::GET, path, &[], Bytes::new())
}

pub(crate) fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(format!("https://backend{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

pub(crate) async fn text(answer: Response<Incoming>) -> String {
    let body = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Says what it was asked and by whom; `/meet` waits until as many are there as the barrier wants, and `/wait` until
/// the test lets it go on.
pub(crate) struct Echo {
    pub(crate) meeting: Barrier,
    pub(crate) gate: Semaphore,
    /// Told when a request to `/wait` has arrived.
    pub(crate) waiting: watch::Sender<usize>,
    pub(crate) connections: AtomicUsize,
}

impl Echo {
    pub(crate) fn new(meeting: usize) -> Arc<Echo> {
        Arc::new(Echo {
            meeting: Barrier::new(meeting),
            gate: Semaphore::new(0),
            waiting: watch::channel(0).0,
            connections: AtomicUsize::new(0),
        })
    }
}

impl Handler for Echo {
    async fn answer(&self, peer: IpAddr, request: Request<Incoming>, _: &UnreadBody) -> Answer {
        let (head, body) = request.into_parts();
        match head.uri.path() {
            "/meet" => {
                self.meeting.wait().await;
            }
            "/wait" => {
                self.waiting.send_modify(|waiting| *waiting += 1);
                self.gate.acquire().await.unwrap().forget();
                self.waiting.send_modify(|waiting| *waiting -= 1);
            }
            "/panic" => panic!("as the test wished"),
            "/unread" => return uncached(TEXT, "not read"),
            _ => {}
        }
        let forwarded =
            head.headers.contains_key("x-forwarded-for") || head.headers.contains_key("forwarded");
        let length = body.collect().await.unwrap().to_bytes().len();
        uncached(
            TEXT,
            format!("{} {} of {peer}, {length} bytes, forwarded: {forwarded}", head.method, head.uri.path()),
        )
    }

    fn connection(&self, open: bool) {
        if open {
            self.connections.fetch_add(1, Ordering::SeqCst);
        } else {
            self.connections.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// A client that is being run.
pub(crate) struct Running {
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(
        handler: &Arc<Echo>,
        authority: &Authority,
        bastions: Vec<BastionAddress>,
        limits: BastionLimits,
    ) -> Running {
        let client = BastionClient::new(&key(), vec![authority.root.clone()], limits).unwrap();
        let (stop, stopped) = watch::channel(false);
        let handler = handler.clone();
        let task = tokio::spawn(Bastions { addresses: bastions, client }.serve(handler, stopped));
        Running { stop, task }
    }

    pub(crate) async fn finish(self) {
        self.stop.send_replace(true);
        soon(self.task).await.unwrap();
    }
}

/// The subject public key of a certificate: what follows the object identifier of Ed25519 (RFC 8410 §4).
pub(crate) fn public_key(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let at = certificate.windows(prefix.len()).position(|window| window == prefix).expect("Ed25519");
    certificate[at + prefix.len()..][..32].try_into().unwrap()
}

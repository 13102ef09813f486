//! torchwood's litebastion between a client and the backend: `go install filippo.io/torchwood/cmd/litebastion@v0.9.0`.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore, crypto::aws_lc_rs::default_provider, pki_types::ServerName, version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Authority, Echo, Port, Running, key, limits, soon, text};

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn through_litebastion() {
    let program = std::env::var_os("LITEBASTION").unwrap_or_else(|| "litebastion".into());
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: String| {
        let path = directory.path().join(name);
        std::fs::File::create_new(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, content.as_bytes()))
            .unwrap();
        path
    };
    let authority = Authority::new();
    let (certificate, secret) = authority.certify("127.0.0.1");
    let certificate = file("cert.pem", pem("CERTIFICATE", &certificate));
    let secret = file("key.pem", pem("PRIVATE KEY", &secret));
    let backends = file("backends", format!("{}\n", key().hash()));
    // It says nowhere which port it was given, so it is told one that was free a moment ago.
    let address = Port::open().await.address();
    let started = Command::new(program)
        .args(["-listen", &address.to_string()])
        .arg("-tls-cert")
        .arg(certificate)
        .arg("-tls-key")
        .arg(secret)
        .arg("-backends")
        .arg(backends)
        .stderr(Stdio::null())
        .spawn();
    let Ok(process) = started else {
        println!("skipped: litebastion is not installed, and LITEBASTION does not name it");
        return;
    };
    let _process = Process(process);

    let echo = Echo::new(1);
    let running = Running::start(&echo, &authority, vec![address.clone()], limits());
    let client = Client::new(&authority, address.to_string().parse().unwrap());
    let path = format!("/{}/add-checkpoint", key().hash());
    let ask = |body: Vec<u8>| {
        let request =
            Request::post(&path).header("host", "bastion").header("x-forwarded-for", "203.0.113.66");
        request.body(Full::new(Bytes::from(body))).unwrap()
    };
    // It is there when it is there: until then it refuses connections, and answers 502 without a backend.
    let answer = soon(async {
        loop {
            match client.ask(ask(vec![b'x'; 9_000])).await {
                Some(answer) if answer.status() == StatusCode::OK => return answer,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    let expected = "POST /add-checkpoint of 127.0.0.1, 9000 bytes, forwarded: false";
    assert_eq!(text(answer).await, expected);
    running.finish().await;
    let gone = soon(client.ask(ask(vec![]))).await.unwrap();
    assert_eq!(gone.status(), StatusCode::BAD_GATEWAY);
}

/// A client of the bastion, with a connection for each request.
struct Client {
    tls: TlsConnector,
    address: SocketAddr,
}

impl Client {
    fn new(authority: &Authority, address: SocketAddr) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(authority.root.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Client { tls: TlsConnector::from(Arc::new(config)), address }
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Option<Response<Incoming>> {
        let socket = TcpStream::connect(self.address).await.ok()?;
        let name = ServerName::from(self.address.ip());
        let stream = self.tls.connect(name, socket).await.ok()?;
        let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        requests.send_request(request).await.ok()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = Base64::encode_string(der);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

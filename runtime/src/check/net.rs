//! Tries over the network, each told apart by the layer that failed, in HAProxy's words.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::Outcome;

/// Bytes of an answer's head that are kept, and its fields: whoever sends more is not well. The body is not read.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;

/// A TCP connection opens; it is closed at once with a reset, so that probing leaves no TIME_WAIT behind.
pub(super) async fn tcp(target: SocketAddr, timeout: Duration) -> Outcome {
    match connect(target, Instant::now() + timeout).await {
        Ok(stream) => {
            // Only a courtesy to the machine: without it the socket lingers as any other.
            let _ = stream.set_zero_linger();
            Outcome::good("L4OK", "")
        }
        Err(outcome) => outcome,
    }
}

/// A TLS handshake completes; the certificate is not verified.
pub(super) async fn tls(target: SocketAddr, timeout: Duration) -> Outcome {
    let deadline = Instant::now() + timeout;
    let stream = match connect(target, deadline).await {
        Ok(stream) => stream,
        Err(outcome) => return outcome,
    };
    let Some(config) = TLS.as_ref() else { return Outcome::bad("L6RSP", "TLS is not available") };
    let connector = TlsConnector::from(Arc::clone(config));
    match timeout_at(deadline, connector.connect(ServerName::from(target.ip()), stream)).await {
        Ok(Ok(_)) => Outcome::good("L6OK", ""),
        Ok(Err(e)) => Outcome::bad("L6RSP", format!("TLS handshake with {target}: {e}")),
        Err(_) => Outcome::bad("L6TOUT", format!("{target} did not finish the TLS handshake in time")),
    }
}

/// `GET` of a path is answered with the status expected.
pub(super) async fn http(target: SocketAddr, (path, expect): (&str, u16), timeout: Duration) -> Outcome {
    let deadline = Instant::now() + timeout;
    let stream = match connect(target, deadline).await {
        Ok(stream) => stream,
        Err(outcome) => return outcome,
    };
    match timeout_at(deadline, get(stream, target, path)).await {
        Ok(Ok(status)) if status == expect => Outcome::good("L7OK", format!("HTTP {status}")),
        Ok(Ok(status)) => Outcome::bad("L7STS", format!("HTTP {status}, expected {expect}")),
        Ok(Err(why)) => Outcome::bad("L7RSP", format!("{target}: {why}")),
        Err(_) => Outcome::bad("L7TOUT", format!("{target} did not answer in time")),
    }
}

async fn get(stream: TcpStream, target: SocketAddr, path: &str) -> Result<u16, String> {
    let words = |e: hyper::Error| e.to_string();
    let mut client = http1::Builder::new();
    client.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(words)?;
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, target.to_string())
        .header(hyper::header::USER_AGENT, "hactl")
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer.map(|a| a.status().as_u16()).map_err(words),
        ended = &mut connection => match ended {
            // The connection's task may notice the end first; the answer is then already there or never comes.
            Ok(()) => answer.await.map(|a| a.status().as_u16()).map_err(words),
            Err(e) => Err(words(e)),
        },
    }
}

async fn connect(target: SocketAddr, deadline: Instant) -> Result<TcpStream, Outcome> {
    match timeout_at(deadline, TcpStream::connect(target)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(e)) => Err(Outcome::bad("L4CON", format!("{target}: {e}"))),
        Err(_) => Err(Outcome::bad("L4TOUT", format!("{target} did not answer in time"))),
    }
}

static TLS: LazyLock<Option<Arc<ClientConfig>>> = LazyLock::new(|| {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth();
    Some(Arc::new(config))
});

/// Takes any certificate: a probe asks whether TLS is spoken, not by whom. Signatures are still checked, so that a
/// server without its key does not count as healthy.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl Unverified {
    fn known(&self) -> &WebPkiSupportedAlgorithms {
        &self.0.signature_verification_algorithms
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, self.known())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, self.known())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.known().supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const PATIENCE: Duration = Duration::from_millis(500);

    /// A server that answers each connection's first bytes with `answer` and hangs up.
    async fn server(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer).await;
            }
        });
        address
    }

    async fn closed() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn tcp_tells_an_open_port_from_a_closed_one() {
        assert_eq!(tcp(server(b"").await, PATIENCE).await.code, "L4OK");
        assert_eq!(tcp(closed().await, PATIENCE).await.code, "L4CON");
    }

    #[tokio::test]
    async fn http_compares_the_status() {
        let ok = server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(http(ok, ("/patroni", 200), PATIENCE).await.code, "L7OK");
        let sick = server(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nsorry").await;
        let outcome = http(sick, ("/patroni", 200), PATIENCE).await;
        assert_eq!((outcome.code, outcome.detail.as_str()), ("L7STS", "HTTP 503, expected 200"));
    }

    #[tokio::test]
    async fn http_reads_no_endless_head_and_waits_for_no_body() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut first, _) = listener.accept().await.unwrap();
            // Until the other side has had enough.
            while first.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.is_ok() {}
            let (mut second, _) = listener.accept().await.unwrap();
            let _ = second.read(&mut [0; 1024]).await;
            second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await.unwrap();
            tokio::time::sleep(PATIENCE * 2).await;
        });
        assert_eq!(http(address, ("/", 200), PATIENCE * 10).await.code, "L7RSP");
        assert_eq!(http(address, ("/", 200), PATIENCE).await.code, "L7OK");
    }

    #[tokio::test]
    async fn http_tells_nonsense_and_silence_apart() {
        assert_eq!(http(server(b"SSH-2.0-OpenSSH_9.2\r\n").await, ("/", 200), PATIENCE).await.code, "L7RSP");
        assert_eq!(http(closed().await, ("/", 200), PATIENCE).await.code, "L4CON");
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        assert_eq!(http(address, ("/", 200), Duration::from_millis(50)).await.code, "L7TOUT");
        assert_eq!(tls(address, Duration::from_millis(50)).await.code, "L6TOUT");
    }

    #[tokio::test]
    async fn tls_completes_with_a_certificate_that_nobody_signed() {
        let made = rcgen::generate_simple_self_signed(vec!["here".into()]).unwrap();
        let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept(stream).await.unwrap();
        });
        assert_eq!(tls(address, PATIENCE).await.code, "L6OK");
        assert_eq!(tls(server(b"HTTP/1.1 400 Bad Request\r\n\r\n").await, PATIENCE).await.code, "L6RSP");
    }
}

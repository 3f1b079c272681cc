//! Stub servers: each answers with its name, so that whoever connects learns where it came out.
//!
//! One port speaks whatever the visitor does: TLS where the first byte is that of a handshake, HTTP where a request
//! stands, else one line for each line.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use super::protocol::Listener;

/// First byte of a TLS record that carries a handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 0x16;

/// Longest line that a stub reads; a longer one ends the connection.
const LINE: u64 = 8 * 1024;

/// A certificate of its own making: probes do not verify it.
///
/// # Errors
/// In words, where no key can be made.
pub fn acceptor() -> Result<TlsAcceptor, String> {
    let made = rcgen::generate_simple_self_signed(["stub.lab".to_owned()]).map_err(|e| e.to_string())?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .map_err(|e| e.to_string())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A server that runs until it is dropped; its connections with it.
#[derive(Debug)]
pub struct Stub {
    task: JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a server.
///
/// # Errors
/// Where the address cannot be listened on.
pub async fn serve(listener: &Listener, tls: TlsAcceptor) -> Result<Stub, String> {
    let ear = listen(listener.at).await.map_err(|e| format!("listening on {}: {e}", listener.at))?;
    let listener = listener.clone();
    let task = tokio::spawn(async move {
        let mut visits = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = ear.accept().await {
            let (listener, tls) = (listener.clone(), tls.clone());
            // A visitor that goes away, or speaks nonsense, is of no interest.
            visits.spawn(async move { visit(stream, &listener, tls).await.unwrap_or(()) });
            while visits.try_join_next().is_some() {}
        }
    });
    Ok(Stub { task })
}

async fn listen(at: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(at).await
}

async fn visit(stream: TcpStream, listener: &Listener, tls: TlsAcceptor) -> std::io::Result<()> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first == [HANDSHAKE] {
        return talk(tls.accept(stream).await?, listener).await;
    }
    talk(stream, listener).await
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, listener: &Listener) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        let mut limited = tokio::io::AsyncReadExt::take(&mut stream, LINE);
        if limited.read_line(&mut line).await? == 0 || !line.ends_with('\n') {
            return Ok(());
        }
        if line.trim_end().ends_with("HTTP/1.1") || line.trim_end().ends_with("HTTP/1.0") {
            return answer(&mut stream, listener).await;
        }
        stream.write_all(format!("{}\n", listener.name).as_bytes()).await?;
        stream.flush().await?;
    }
}

/// Reads the rest of a request's head and answers it.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    listener: &Listener,
) -> std::io::Result<()> {
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 && line.len() < LINE as usize {
        if line.ends_with("\r\n\r\n") {
            break;
        }
    }
    let Listener { name, status, .. } = listener;
    let length = name.len() + 1;
    let head = format!("HTTP/1.1 {status} Stub\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("{head}{name}\n").as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, Read, Write};
    use std::net::TcpListener as Reserve;
    use std::net::TcpStream as Client;

    /// Runs `visit` against a stub on a thread of its own.
    fn with_stub(visit: impl FnOnce(SocketAddr) + Send + 'static) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let port = Reserve::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let at = SocketAddr::from(([127, 0, 0, 1], port));
            let listener = Listener { at, name: "pve1".into(), status: 204 };
            let _stub = serve(&listener, acceptor().unwrap()).await.unwrap();
            tokio::task::spawn_blocking(move || visit(at)).await.unwrap();
        });
    }

    #[test]
    fn a_stub_answers_every_line_with_its_name() {
        with_stub(|at| {
            let mut client = std::io::BufReader::new(Client::connect(at).unwrap());
            for _ in 0..3 {
                client.get_mut().write_all(b"ping\n").unwrap();
                let mut line = String::new();
                client.read_line(&mut line).unwrap();
                assert_eq!(line, "pve1\n");
            }
        });
    }

    #[test]
    fn a_stub_answers_a_request_with_the_status_that_is_expected_of_it() {
        with_stub(|at| {
            let mut client = Client::connect(at).unwrap();
            client.write_all(b"GET /patroni HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
            assert!(answer.ends_with("\r\n\r\npve1\n"), "{answer}");
        });
    }
}

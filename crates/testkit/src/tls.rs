//! A server's certificate, from an authority made on the spot.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use url::Url;

/// A certificate, and the authority that signed it.
pub struct Tls {
    acceptor: TlsAcceptor,
    dir: TempDir,
}

impl Tls {
    /// For a server that is called one of these names or addresses.
    ///
    /// # Errors
    /// When no certificate can be made or written down.
    pub fn of(names: &[&str]) -> anyhow::Result<Self> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(DnType::CommonName, "testkit authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

        let key = KeyPair::generate()?;
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;

        // The provider is named, so that no test depends on what the process installed.
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;

        let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
        let pem =
            [("ca.pem", authority.pem()), ("certificate.pem", certificate.pem()), ("key.pem", key.serialize_pem())];
        for (name, text) in pem {
            std::fs::write(dir.path().join(name), text)?;
        }
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), dir })
    }

    /// What a client must trust.
    pub fn ca_pem(&self) -> PathBuf {
        self.file("ca.pem")
    }

    pub(crate) fn certificate_pem(&self) -> PathBuf {
        self.file("certificate.pem")
    }

    pub(crate) fn key_pem(&self) -> PathBuf {
        self.file("key.pem")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Speaks TLS in the place of the server on 127.0.0.1 that this URL names; returns the URL of the new place,
    /// otherwise as it was. Goes on for as long as the runtime does.
    ///
    /// # Panics
    /// When no port can be had, or the URL names none.
    pub async fn before(&self, url: &str) -> String {
        let mut url = Url::parse(url).expect("a URL");
        let server = url.port().expect("a port");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        url.set_port(Some(listener.local_addr().expect("an address").port())).expect("it takes a port");
        let acceptor = self.acceptor();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // Who does not trust us, or is gone, is not our business.
                    let mut client = acceptor.accept(client).await?;
                    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        url.into()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("dir", &self.dir).finish_non_exhaustive()
    }
}

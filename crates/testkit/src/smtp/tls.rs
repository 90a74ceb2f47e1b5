//! A certificate for `localhost`, from an authority made on the spot.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

pub(super) struct Tls {
    acceptor: TlsAcceptor,
    ca_pem: PathBuf,
    /// Holds the file above.
    _dir: TempDir,
}

impl Tls {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(DnType::CommonName, "testkit authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

        let key = KeyPair::generate()?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;

        // The provider is named, so that no test depends on what the process installed.
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;

        let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
        let ca_pem = dir.path().join("ca.pem");
        std::fs::write(&ca_pem, authority.pem())?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), ca_pem, _dir: dir })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    pub(super) fn ca_pem(&self) -> &Path {
        &self.ca_pem
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("ca_pem", &self.ca_pem).finish_non_exhaustive()
    }
}

//! Certificates and keys of one cluster: an authority, the servers' certificate, the key of its tokens.
//!
//! ECDSA P-256, made anew for every cluster, gone with its folder.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

/// Where they lie.
#[derive(Clone, Debug)]
pub(super) struct Pki {
    pub(super) authority: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// The pair that signs the tokens of ServiceAccounts, and the half that checks them.
    pub(super) signing: PathBuf,
    pub(super) checking: PathBuf,
}

// === impl Pki ===

impl Pki {
    /// Makes them in a folder.
    pub(super) fn make(folder: &Path) -> Self {
        let authority = authority();
        let (certificate, key) = of_server(&authority);
        let tokens = KeyPair::generate().expect("a key");
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).expect("the folder can be written");
            path
        };
        Self {
            authority: write("ca.crt", &authority.pem()),
            certificate: write("server.crt", &certificate),
            key: write("server.key", &key),
            signing: write("tokens.key", &tokens.serialize_pem()),
            checking: write("tokens.pub", &tokens.public_key_pem()),
        }
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "haldane tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

/// For whatever serves on loopback: the API server and what stands before it.
fn of_server(issuer: &CertifiedIssuer<'static, KeyPair>) -> (String, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into().expect("a name")),
        SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, issuer).expect("the authority signs");
    (certificate.pem(), key.serialize_pem())
}

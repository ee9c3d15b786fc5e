//! Keys and certificates, of authorities that each test makes for itself.

use std::net::IpAddr;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};
use orders::pipeline::time::now_us;

/// Seconds.
const DAY: i64 = 24 * 60 * 60;

/// A key and its certificate.
pub struct Identity {
    key: PKey<Private>,
    certificate: X509,
}

impl Identity {
    /// A certificate authority of its own.
    pub fn authority(name: &str) -> Identity {
        make(name, None, valid_now())
    }

    /// An identity of that name, of a host, an address or a user, signed by this authority.
    pub fn sign(&self, name: &str) -> Identity {
        make(name, Some(self), valid_now())
    }

    /// One whose time was over yesterday.
    pub fn sign_expired(&self, name: &str) -> Identity {
        let now = now_us() / 1_000_000;
        make(name, Some(self), [now - 2 * DAY, now - DAY])
    }

    /// The key, as PEM of PKCS #8.
    pub fn key(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().expect("it has a form")
    }

    /// The same, encrypted.
    pub fn encrypted_key(&self, password: &str) -> Vec<u8> {
        let cipher = Cipher::aes_128_cbc();
        let key = &self.key;
        key.private_key_to_pem_pkcs8_passphrase(cipher, password.as_bytes())
            .expect("it has a form")
    }

    /// The certificate, as PEM.
    pub fn certificate(&self) -> Vec<u8> {
        self.certificate.to_pem().expect("it has a form")
    }
}

fn valid_now() -> [i64; 2] {
    let now = now_us() / 1_000_000;
    [now - 60, now + DAY]
}

fn make(name: &str, by: Option<&Identity>, times: [i64; 2]) -> Identity {
    try_make(name, by, times).expect("OpenSSL makes keys and certificates")
}

fn try_make(
    name: &str,
    by: Option<&Identity>,
    [from, to]: [i64; 2],
) -> Result<Identity, openssl::error::ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut subject = X509Name::builder()?;
    subject.append_entry_by_text("CN", name)?;
    let subject = subject.build();
    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    let serial = BigNum::from_u32(uuid::Uuid::new_v4().as_fields().0 >> 1)?;
    certificate.set_serial_number(&*serial.to_asn1_integer()?)?;
    certificate.set_subject_name(&subject)?;
    certificate.set_pubkey(&key)?;
    certificate.set_not_before(&*Asn1Time::from_unix(from)?)?;
    certificate.set_not_after(&*Asn1Time::from_unix(to)?)?;
    let signer = match by {
        Some(authority) => {
            certificate.set_issuer_name(authority.certificate.subject_name())?;
            let context = certificate.x509v3_context(Some(&authority.certificate), None);
            let mut names = SubjectAlternativeName::new();
            match name.parse::<IpAddr>() {
                Ok(_) => names.ip(name),
                Err(_) => names.dns(name),
            };
            certificate.append_extension(names.build(&context)?)?;
            &authority.key
        }
        None => {
            certificate.set_issuer_name(&subject)?;
            let may_sign = BasicConstraints::new().critical().ca().build()?;
            certificate.append_extension(may_sign)?;
            &key
        }
    };
    certificate.sign(signer, MessageDigest::sha256())?;
    let certificate = certificate.build();
    Ok(Identity { key, certificate })
}

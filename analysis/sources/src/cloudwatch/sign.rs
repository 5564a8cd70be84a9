//! AWS Signature Version 4, as far as one POST without a query needs it. Pure.
//!
//! Checked against the example of AWS' own description; HMAC is RFC 2104 over SHA-256.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

const BLOCK: usize = 64;

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// The path, encoded, and the query, encoded and sorted.
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    /// The headers in lower case, sorted by name.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
    /// `20150830T123600Z`.
    pub(super) at: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// Writes the header `Authorization`.
pub(super) fn authorization(signed: &Signed<'_>, key_id: &str, secret: &str) -> String {
    let Signed { at, region, service, .. } = signed;
    let day = &at[..8];
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let names: Vec<&str> = signed.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let text =
        format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&sha256(&canonical(signed, &names))));
    let key = [day, region, service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
            hmac(&key, part.as_bytes()).to_vec()
        });
    let signature = hex(&hmac(&key, text.as_bytes()));
    format!(
        "AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
}

fn canonical(signed: &Signed<'_>, names: &str) -> Vec<u8> {
    let Signed { method, path, query, headers, body, .. } = signed;
    let mut text = format!("{method}\n{path}\n{query}\n");
    for (name, value) in *headers {
        writeln!(text, "{name}:{}", value.trim()).expect("text takes text");
    }
    write!(text, "\n{names}\n{}", hex(&sha256(body))).expect("text takes text");
    text.into_bytes()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn hmac(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK];
    let hashed = sha256(key);
    let short = if key.len() > BLOCK { &hashed[..] } else { key };
    block[..short.len()].copy_from_slice(short);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(bytes).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text takes text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let found = hex(&hmac(b"Jefe", b"what do ya want for nothing?"));
        assert_eq!(found, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let found =
            hex(&hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"));
        assert_eq!(found, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn the_example_of_aws_is_signed_as_aws_signs_it() {
        let signed = Signed {
            method: "GET",
            path: "/",
            query: "Action=ListUsers&Version=2010-05-08",
            headers: &[
                ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("host", "iam.amazonaws.com"),
                ("x-amz-date", "20150830T123600Z"),
            ],
            body: b"",
            at: "20150830T123600Z",
            region: "us-east-1",
            service: "iam",
        };
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        assert_eq!(
            authorization(&signed, "AKIDEXAMPLE", secret),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }
}

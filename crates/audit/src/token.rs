//! Who a request says it comes from: tokens, cookies, and proxies' word.

use std::{net::IpAddr, sync::LazyLock, time::SystemTime};

use auth::token::Tokens;
use axum::http::{HeaderMap, HeaderValue, header};
use axum_extra::headers::{
    Authorization, Header as _,
    authorization::{Basic, Bearer},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use common::{Secret, client::Proxies};
use jsonwebtoken::{Algorithm, EncodingKey};

/// Nobody else has it, and no input was signed with it.
const SECRET: &str = "only this target knows it, and yet it is long enough";

static TOKENS: LazyLock<Tokens> = LazyLock::new(|| Tokens::new(&Secret::new(SECRET), None));

/// The bytes as every header that says who somebody is, then as a token whose signature is right.
pub fn token(data: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(data) {
        headers(&value);
    }
    signed(data);
}

fn headers(value: &HeaderValue) {
    let accepted = |value: &HeaderValue| {
        let bearer = Authorization::<Bearer>::decode(&mut [value].into_iter()).ok();
        bearer.and_then(|bearer| TOKENS.verify(bearer.token()))
    };
    assert_eq!(accepted(value), None, "nobody signed it");
    if let Ok(basic) = Authorization::<Basic>::decode(&mut [value].into_iter()) {
        assert!(!basic.username().contains(':'));
    }

    let mut map = HeaderMap::new();
    map.insert(header::COOKIE, value.clone());
    if let Some(bearer) = gateway::session::bearer(&map) {
        assert!(bearer.as_bytes().starts_with(b"Bearer ") && bearer.len() > 7, "{bearer:?}");
        assert_eq!(accepted(&bearer), None, "nobody signed it");
    }

    let proxies: Proxies = "10.0.0.0/8".parse().expect("a network");
    map.insert("x-forwarded-for", value.clone());
    map.insert(header::FORWARDED, value.clone());
    let (proxy, stranger) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
    assert_eq!(proxies.client(stranger, &map), Some(stranger), "may say what it likes");
    proxies.client(proxy, &map);
}

/// Header and claims, with a line's end between them.
fn signed(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (head, claims) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let message = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(head), BASE64_URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature");
    let Some(said) = TOKENS.verify(&format!("{message}.{signature}")) else { return };
    let head: serde_json::Value = serde_json::from_slice(head).expect("JSON");
    assert_eq!(head["alg"], "HS256", "no other algorithm");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(said.exp.saturating_add(10) >= now, "expired: {said:?}");
}

//! The page's login: auth's token in a cookie, so that the browser's own player and downloads
//! are let in as well.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use common::{Error, Result};
use url::Url;

/// The cookie's name.
const NAME: &str = "session";
/// A token is good for so many seconds; its cookie as well.
const MAX_AGE: u32 = 86_400;

/// What a login sets, or with no token, what a logout does.
pub fn cookie(token: Option<&str>, secure: bool) -> Result<HeaderValue> {
    let (token, age) = token.map_or(("", 0), |token| (token, MAX_AGE));
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{NAME}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={age}{secure}");
    HeaderValue::from_str(&text).map_err(|e| Error::Internal(e.into()))
}

/// The cookie's token in the form of an `Authorization` header.
pub fn bearer(headers: &HeaderMap) -> Option<HeaderValue> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, token) = pairs.find(|(name, token)| *name == NAME && !token.is_empty())?;
    HeaderValue::from_str(&format!("Bearer {token}")).ok()
}

/// Refuses what another site's page makes a browser send. `SameSite` should have kept the cookie
/// from it; this is for browsers that don't know it, and for the login itself.
pub async fn refuse_foreign(request: Request, next: Next) -> Result<Response> {
    let headers = request.headers();
    let by_itself = !headers.contains_key(header::AUTHORIZATION)
        && (bearer(headers).is_some() || request.uri().path() == "/session");
    if by_itself && !request.method().is_safe() && is_foreign(headers) {
        return Err(Error::Foreign);
    }
    Ok(next.run(request).await)
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let origin_is_host = || {
        let origin = text("origin").and_then(|origin| Url::parse(origin).ok());
        let (Some(origin), Some(host)) = (origin, text("host")) else { return false };
        // Parsed with the origin's scheme, so that a port that is usual there may be left out.
        let here = Url::parse(&format!("{}://{host}", origin.scheme()));
        here.is_ok_and(|here| here.origin() == origin.origin())
    };
    match text("sec-fetch-site") {
        Some("same-origin" | "none") => false,
        None if !headers.contains_key(header::ORIGIN) => false,
        _ => !origin_is_host(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    use super::{bearer, cookie, is_foreign};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_token_is_found_among_other_cookies() {
        let found = |text| bearer(&headers(&[("cookie", text)])).map(|v| v.to_str().expect("text").to_owned());
        assert_eq!(found("a=b; session=x.y-z_; c=d").as_deref(), Some("Bearer x.y-z_"));
        for none in ["", "session=", "sessions=x", "session"] {
            assert_eq!(found(none), None, "{none}");
        }
    }

    #[test]
    fn scripts_never_see_the_cookie() {
        let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        let login = text(&cookie(Some("x.y"), true).expect("a cookie"));
        assert_eq!(login, "session=x.y; HttpOnly; SameSite=Strict; Path=/; Max-Age=86400; Secure");
        let logout = text(&cookie(None, false).expect("a cookie"));
        assert_eq!(logout, "session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
        assert!(cookie(Some("x\r\nSet-Cookie: y"), false).is_err());
    }

    #[test]
    fn other_sites_are_told_by_what_browsers_say() {
        for ours in [
            &[][..],
            &[("sec-fetch-site", "same-origin"), ("origin", "null")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://h:8080"), ("host", "h:8080")],
            &[("origin", "https://h"), ("host", "h")],
            &[("origin", "https://h"), ("host", "h:443"), ("sec-fetch-site", "same-site")],
        ] {
            assert!(!is_foreign(&headers(ours)), "{ours:?}");
        }
        for foreign in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site"), ("origin", "https://x.h"), ("host", "h")],
            &[("origin", "http://h:8081"), ("host", "h:8080")],
            &[("origin", "null"), ("host", "h")],
            &[("origin", "https://h")],
        ] {
            assert!(is_foreign(&headers(foreign)), "{foreign:?}");
        }
    }
}

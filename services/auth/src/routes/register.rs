//! `POST /register`: a new account.

use std::sync::Arc;

use axum::{body::Bytes, extract::State, http::StatusCode};
use common::{Error, Result};
use email_address::{EmailAddress, Options};
use serde::Deserialize;

use super::{App, counted};
use crate::{
    Registration,
    password::{LONGEST, SHORTEST},
};

/// The width of the database's column, and a byte more than SMTP allows.
const LONGEST_EMAIL: usize = 255;

/// What is left out is empty, and refused for that.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Account {
    email: String,
    password: String,
}

/// 201. The body is read as JSON, whatever its content type says.
pub async fn register(State(app): State<Arc<App>>, body: Bytes) -> Result<(StatusCode, &'static str)> {
    counted("auth_registrations_total", create(&app, &body).await)?;
    Ok((StatusCode::CREATED, "created"))
}

async fn create(app: &App, body: &[u8]) -> Result<()> {
    if app.registration == Registration::Closed {
        return Err(Error::RegistrationClosed);
    }
    let account: Account = serde_json::from_slice(body)
        .map_err(|_| Error::BadRequest("a JSON object with \"email\" and \"password\" is expected".to_owned()))?;
    let email = account.email.trim();
    if !is_email(email) {
        return Err(Error::Unprocessable("this is not an e-mail address"));
    }
    if account.password.len() < SHORTEST {
        return Err(Error::Unprocessable("the password is shorter than 8 bytes"));
    }
    if account.password.len() > LONGEST {
        return Err(Error::Unprocessable("the password is longer than 1024 bytes"));
    }
    let hash = app.passwords.hash(&account.password).await?;
    app.users.insert(email, &hash).await
}

fn is_email(text: &str) -> bool {
    // Quoted names may hold nearly anything, and are nobody's address in practice. A colon
    // would end the name in HTTP Basic: nobody could ever log in with it.
    let plain = !text.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '"' | ':'));
    let options = Options::default().without_display_text().without_domain_literal();
    plain && text.len() <= LONGEST_EMAIL && EmailAddress::parse_with_options(text, options).is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_email;

    #[test]
    fn what_is_an_address() {
        for good in
            ["a@b.c", "first.last+tag@mail.example.org", "o'neil@example.com", "user@localhost", "jörg@example.de"]
        {
            assert!(is_email(good), "{good}");
        }
    }

    #[test]
    fn what_is_none() {
        for bad in [
            "",
            "a",
            "@",
            "a@",
            "@b.c",
            "a@b@c",
            "a b@c.d",
            "a@b .c",
            "a@b.c\n",
            "a@b.c\r\nBcc: x@y.z",
            "a\0@b.c",
            "Ann <a@b.c>",
            "<a@b.c>",
            "\"a b\"@c.d",
            "a@[127.0.0.1]",
            ".a@b.c",
            "a..b@c.d",
            "a@-b.c",
            "a@b..c",
        ] {
            assert!(!is_email(bad), "{bad:?}");
        }
        assert!(!is_email(&format!("{}@b.c", "a".repeat(300))));
    }
}

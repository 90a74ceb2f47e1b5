//! Accounts as whoever runs the service handles them: at a terminal, without a token.

use common::{Error, Result, Secret};
use email_address::{EmailAddress, Options};

use crate::{
    password::{LONGEST, Passwords, SHORTEST},
    users::{self, Users},
};

/// The width of the database's column, and a byte more than SMTP allows.
const LONGEST_EMAIL: usize = 255;

/// The accounts at a database's URL.
pub struct Accounts {
    users: Users,
    passwords: Passwords,
}

impl Accounts {
    pub async fn connect(database: &Secret) -> anyhow::Result<Self> {
        Ok(Self { users: Users::connect(database, users::LIMIT).await?, passwords: Passwords::new().await? })
    }

    /// Makes an account, under the same conditions as `POST /register`.
    pub async fn add(&self, email: &str, password: &str) -> Result<()> {
        let email = acceptable(email, password)?;
        self.users.insert(email, &self.passwords.hash(password, None).await?).await
    }

    /// Gives an account another password.
    pub async fn set_password(&self, email: &str, password: &str) -> Result<()> {
        let email = acceptable(email, password)?;
        let hash = self.passwords.hash(password, None).await?;
        loop {
            let user = self.users.find(email).await?.ok_or(Error::NotFound)?;
            if self.users.replace_password(&user, &hash).await.map_err(Error::unavailable("database"))? {
                return Ok(());
            }
            // Somebody changed it in between; ours is the last word.
        }
    }

    /// Lets an account in, or keeps it out from its next request on.
    pub async fn set_enabled(&self, email: &str, enabled: bool) -> Result<()> {
        if self.users.set_enabled(email, enabled).await? { Ok(()) } else { Err(Error::NotFound) }
    }

    /// All addresses, in order.
    pub async fn emails(&self) -> Result<Vec<String>> {
        self.users.emails().await
    }
}

/// What may become an account: the address without what stands around it, or why not.
pub(crate) fn acceptable<'a>(email: &'a str, password: &str) -> Result<&'a str> {
    let email = email.trim();
    if !is_email(email) {
        return Err(Error::Unprocessable("this is not an e-mail address"));
    }
    if password.len() < SHORTEST {
        return Err(Error::Unprocessable("the password is shorter than 8 bytes"));
    }
    if password.len() > LONGEST {
        return Err(Error::Unprocessable("the password is longer than 1024 bytes"));
    }
    Ok(email)
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
    use super::{Accounts, Error, Secret, is_email};

    #[tokio::test]
    async fn a_password_can_be_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = Secret::new(format!("sqlite:{}/users.db", folder.path().display()));
        let accounts = Accounts::connect(&url).await.expect("connect");
        assert!(matches!(accounts.add("nobody", "correct horse").await, Err(Error::Unprocessable(_))));
        assert!(matches!(accounts.add("a@b.c", "short").await, Err(Error::Unprocessable(_))));
        accounts.add("a@b.c", "correct horse").await.expect("added");
        assert!(matches!(accounts.add("A@b.c", "correct horse").await, Err(Error::Taken)));
        let before = accounts.users.find("a@b.c").await.expect("asked").expect("there").password;
        accounts.set_password("A@B.c", "battery staple").await.expect("changed");
        assert_ne!(accounts.users.find("a@b.c").await.expect("asked").expect("there").password, before);
        assert!(matches!(accounts.set_password("x@y.z", "battery staple").await, Err(Error::NotFound)));
        assert_eq!(accounts.emails().await.expect("listed"), ["a@b.c"]);
    }

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

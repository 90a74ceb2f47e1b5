//! The accounts.

mod mysql;
mod sqlite;

use std::time::Duration;

use common::{Env, Error, Result, Secret};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use self::{mysql::MySql, sqlite::Sqlite};

/// What a question to the database may take, unless somebody says otherwise.
pub const LIMIT: Duration = Duration::from_secs(4);

/// One account as it is stored.
pub struct User {
    /// In lower case.
    pub email: String,
    /// An argon2 hash, or plain text in rows of an old installation.
    pub password: String,
    pub enabled: bool,
}

/// Where the accounts are. Connects when first needed, and again whenever it must.
///
/// Each question to a server ends within its limit; a database that does not answer is [`Error::Unavailable`].
pub struct Users(Backend);

enum Backend {
    MySql(MySql),
    Sqlite(Sqlite),
}

impl Users {
    /// The accounts at a `mysql:` or `mariadb:` URL, or in the file of a `sqlite:` one, which is
    /// made if it is missing. No question to a server takes longer than `limit`. Fails only if the URL is faulty or the file cannot be opened.
    pub async fn connect(url: &Secret, limit: Duration) -> anyhow::Result<Self> {
        let scheme = url.expose().split_once(':').map_or("", |(scheme, _)| scheme);
        Ok(Self(match scheme {
            "sqlite" => Backend::Sqlite(Sqlite::connect(url).await?),
            _ => Backend::MySql(MySql::connect(url.expose(), limit)?),
        }))
    }

    /// The account with this address, in whatever case either is written.
    pub async fn find(&self, email: &str) -> Result<Option<User>> {
        let email = canonical(email);
        let found = match &self.0 {
            Backend::MySql(mysql) => mysql.find(&email).await,
            Backend::Sqlite(sqlite) => sqlite.find(&email).await,
        };
        let user = found.map_err(Error::unavailable("database"))?;
        // A collation may find more than the address asked for: other accents, say.
        Ok(user.map(|user| User { email: canonical(&user.email), ..user }).filter(|user| user.email == email))
    }

    /// Makes an account.
    pub async fn insert(&self, email: &str, password_hash: &str) -> Result<()> {
        let email = canonical(email);
        let inserted = match &self.0 {
            Backend::MySql(mysql) => mysql.insert(&email, password_hash).await,
            Backend::Sqlite(sqlite) => sqlite.insert(&email, password_hash).await,
        };
        if inserted.map_err(Error::unavailable("database"))? { Ok(()) } else { Err(Error::Taken) }
    }

    /// Stores `new` unless the account's password has changed since `user` was read.
    /// Tells whether it did; a failure is the caller's to pass over or not.
    pub async fn replace_password(&self, user: &User, new: &str) -> anyhow::Result<bool> {
        match &self.0 {
            Backend::MySql(mysql) => mysql.replace_password(&user.email, &user.password, new).await,
            Backend::Sqlite(sqlite) => sqlite.replace_password(&user.email, &user.password, new).await,
        }
    }

    /// Lets an account in, or keeps it out from its next request on. False: there is none.
    pub async fn set_enabled(&self, email: &str, enabled: bool) -> Result<bool> {
        let email = canonical(email);
        match &self.0 {
            Backend::MySql(mysql) => mysql.set_enabled(&email, enabled).await,
            Backend::Sqlite(sqlite) => {
                sqlite.set_enabled(&email, enabled).await.map_err(Error::unavailable("database"))
            }
        }
    }

    /// All addresses, in order.
    pub async fn emails(&self) -> Result<Vec<String>> {
        let found = match &self.0 {
            Backend::MySql(mysql) => mysql.emails().await,
            Backend::Sqlite(sqlite) => sqlite.emails().await,
        };
        found.map_err(Error::unavailable("database"))
    }

    /// Whether the database answers; the error says why not.
    pub async fn ping(&self) -> anyhow::Result<()> {
        match &self.0 {
            Backend::MySql(mysql) => mysql.ping().await,
            Backend::Sqlite(sqlite) => sqlite.ping().await,
        }
    }
}

/// The one spelling of an e-mail address.
pub fn canonical(email: &str) -> String {
    email.trim().to_lowercase()
}

/// `DATABASE_URL`, or one made of the classic `MYSQL_` variables.
pub fn url_from_env(env: &mut Env) -> Secret {
    let classic = classic_url(env);
    let url = env.url("DATABASE_URL", classic.expose(), &["mysql", "mariadb", "sqlite"]);
    if !url.expose().starts_with("sqlite:")
        && let Err(error) = mysql::check(url.expose())
    {
        env.fault(format!("DATABASE_URL: {error:#}"));
    }
    url
}

fn classic_url(env: &mut Env) -> Secret {
    let host = env.string("MYSQL_HOST", "localhost");
    let port = env.parse("MYSQL_PORT", 3306u16);
    let user = env.string("MYSQL_USER", "auth");
    let password = env.secret("MYSQL_PASSWORD").unwrap_or_else(|| Secret::new(""));
    let database = env.string("MYSQL_DB", "auth");
    let Tls(ssl_mode) = env.parse("MYSQL_TLS", Tls("PREFERRED"));
    let ca = env.optional("MYSQL_CA_FILE").map_or_else(String::new, |path| format!("&ssl-ca={}", encode(&path)));

    // An IPv6 address stands in brackets; names and IPv4 addresses have no colon.
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let (user, password, database) = (encode(&user), encode(password.expose()), encode(&database));
    Secret::new(format!("mysql://{user}:{password}@{host}:{port}/{database}?ssl-mode={ssl_mode}{ca}"))
}

/// Every character that could mean something in a URL, as `%xx`.
fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// `MYSQL_TLS` in the words of a MySQL URL.
struct Tls(&'static str);

impl std::str::FromStr for Tls {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "disabled" => Ok(Self("DISABLED")),
            "preferred" => Ok(Self("PREFERRED")),
            "required" => Ok(Self("REQUIRED")),
            "verify" => Ok(Self("VERIFY_IDENTITY")),
            _ => Err("disabled, preferred, required or verify is expected"),
        }
    }
}

/// What every backend promises.
#[cfg(test)]
mod contract {
    use common::start::install_crypto;
    use testkit::Servers;

    use super::{Error, LIMIT, Secret, Users};

    async fn an_account_is_found_in_whatever_case(users: Users) {
        users.insert(" Ada@Example.com ", "hash").await.expect("free");
        for email in ["ada@example.com", "ADA@EXAMPLE.COM", " Ada@example.com"] {
            let user = users.find(email).await.expect("asked").expect(email);
            assert_eq!((user.email.as_str(), user.password.as_str()), ("ada@example.com", "hash"));
            assert!(user.enabled);
        }
        for email in ["ada@example.co", "", "äda@example.com", "ada@example.com'--", "%"] {
            assert!(users.find(email).await.expect("asked").is_none(), "{email}");
        }
        users.ping().await.expect("alive");
    }

    async fn an_address_is_taken_once(users: Users) {
        users.insert("ada@example.com", "first").await.expect("free");
        for email in ["ada@example.com", "ADA@example.com"] {
            assert!(matches!(users.insert(email, "second").await, Err(Error::Taken)), "{email}");
        }
        assert_eq!(users.find("ada@example.com").await.expect("asked").expect("there").password, "first");
        let before = users.emails().await.expect("listed").len();
        users.insert("ben@example.com", "hash").await.expect("free");
        let emails = users.emails().await.expect("listed");
        assert!(emails.len() == before + 1 && emails.is_sorted(), "{emails:?}");
    }

    async fn a_password_is_replaced_only_by_who_knows_the_old_one(users: Users) {
        users.insert("ada@example.com", "Old").await.expect("free");
        let mut user = users.find("ada@example.com").await.expect("asked").expect("there");
        assert!(users.replace_password(&user, "new").await.expect("asked"));
        assert!(!users.replace_password(&user, "newer").await.expect("asked"), "it has changed meanwhile");
        // Other case, other password.
        user.password = "NEW".to_owned();
        assert!(!users.replace_password(&user, "newest").await.expect("asked"));
        assert_eq!(users.find("ada@example.com").await.expect("asked").expect("there").password, "new");
    }

    async fn an_account_is_disabled_and_enabled(users: Users) {
        users.insert("ada@example.com", "hash").await.expect("free");
        let enabled = async || users.find("ada@example.com").await.expect("asked").expect("there").enabled;
        for (spelling, wanted) in [("ADA@example.com", false), ("ada@example.com", false), ("ada@example.com", true)] {
            assert!(users.set_enabled(spelling, wanted).await.expect("asked"), "{spelling}");
            assert_eq!(enabled().await, wanted);
        }
        assert!(!users.set_enabled("ben@example.com", true).await.expect("asked"), "no such account");
    }

    macro_rules! contract {
        ($users:expr) => {
            contract! { $users =>
                an_account_is_found_in_whatever_case
                an_address_is_taken_once
                a_password_is_replaced_only_by_who_knows_the_old_one
                an_account_is_disabled_and_enabled
            }
        };
        ($users:expr => $($promise:ident)*) => {$(
            #[tokio::test]
            async fn $promise() {
                let (users, _home) = $users.await;
                super::$promise(users).await;
            }
        )*};
    }

    mod mysql {
        use super::*;

        async fn users() -> (Users, ()) {
            install_crypto();
            let url = Servers::shared().auth_database().await.expect("a database");
            (Users::connect(&Secret::new(url), LIMIT).await.expect("connect"), ())
        }

        contract!(users());
    }

    mod sqlite {
        use super::*;

        async fn users() -> (Users, tempfile::TempDir) {
            let folder = tempfile::tempdir().expect("a folder");
            let url = format!("sqlite:{}/users.db", folder.path().display());
            (Users::connect(&Secret::new(url), LIMIT).await.expect("connect"), folder)
        }

        contract!(users());
    }
}

#[cfg(test)]
mod tests {
    use super::{Env, url_from_env};

    #[test]
    fn classic_variables_make_a_url() {
        let url = url_from_env(&mut Env::default());
        assert_eq!(url.expose(), "mysql://auth:@localhost:3306/auth?ssl-mode=PREFERRED");
        let odd = [("MYSQL_HOST", "::1"), ("MYSQL_PASSWORD", "p@ss:w/ö %41"), ("MYSQL_TLS", "verify")];
        let url = url_from_env(&mut odd.into_iter().collect());
        assert_eq!(url.expose(), "mysql://auth:p%40ss%3Aw%2F%C3%B6%20%2541@[::1]:3306/auth?ssl-mode=VERIFY_IDENTITY");
    }

    #[test]
    fn a_url_is_taken_instead_and_checked() {
        for (url, fault) in [
            ("mysql://a:b@c/d", None),
            ("mariadb://a:b@c:1/d?ssl-mode=required", None),
            ("sqlite:/var/lib/users.db", None),
            ("postgres://a:b@c/d", Some("mysql: or mariadb: or sqlite:")),
            ("mysql://a:b@c:port/d", Some("port")),
            ("mysql://a:b@c/d?ssl-mode=perhaps", Some("perhaps")),
        ] {
            let mut env: Env = [("DATABASE_URL", url)].into_iter().collect();
            url_from_env(&mut env);
            let found = env.finish(()).err().map(|faults| faults.to_string());
            match fault {
                None => assert_eq!(found, None, "{url}"),
                Some(fault) => assert!(found.is_some_and(|found| found.contains(fault)), "{url}"),
            }
        }
    }
}

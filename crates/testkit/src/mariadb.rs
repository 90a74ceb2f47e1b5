//! A throw-away MariaDB, in the place of MySQL.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection};

use crate::eventually::poll;
use crate::folder::Folder;
use crate::name::unique_name;
use crate::port::Port;
use crate::process::{Process, effective_user};
use crate::tls::Tls;

pub(crate) const USER: &str = "root";
pub(crate) const PASSWORD: &str = "testkit";

/// A MariaDB server of one's own.
#[derive(Debug)]
pub struct Mariadb {
    // First in line, first to be dropped: the server ends before its folder goes.
    process: Option<Process>,
    port: Port,
    folder: Folder,
    /// More arguments.
    arguments: Vec<String>,
}

impl Mariadb {
    /// Makes an empty server; ready when this returns (1 to 2 s).
    ///
    /// # Errors
    /// When MariaDB is not installed or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Vec::new()).await
    }

    /// As [`start`](Self::start); it also speaks TLS, with this certificate.
    ///
    /// # Errors
    /// When MariaDB is not installed or does not start.
    pub async fn start_with_tls(tls: &Tls) -> anyhow::Result<Self> {
        let file = |name, path: PathBuf| format!("--{name}={}", path.display());
        Self::start_with(vec![file("ssl-cert", tls.certificate_pem()), file("ssl-key", tls.key_pem())]).await
    }

    async fn start_with(arguments: Vec<String>) -> anyhow::Result<Self> {
        let folder = Folder::new("mariadb")?;
        std::fs::create_dir(folder.join("tmp"))?;
        install(&folder).await?;
        std::fs::write(
            folder.join("init.sql"),
            // One statement a line: that is all an init file may hold.
            format!(
                "CREATE OR REPLACE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL PRIVILEGES ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;\n"
            ),
        )?;
        let mut server = Self { process: None, port: Port::free(), folder, arguments };
        server.restart().await?;
        Ok(server)
    }

    /// `mysql://user:password@127.0.0.1:port`, without a database.
    pub fn url(&self) -> String {
        format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{}", self.port.number())
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Makes a database that nobody else uses, and returns its URL.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn database(&self) -> anyhow::Result<String> {
        create_database(&self.url()).await
    }

    /// Starts it again on the same port and data, after [`Self::stop`] or [`Self::kill`].
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "MariaDB is still running: stop or kill it first");
        let mut command = Command::new(find("mariadbd"));
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", self.folder.join("data").display()))
            .arg(format!("--socket={}", self.folder.join("socket").display()))
            .arg(format!("--pid-file={}", self.folder.join("pid").display()))
            .arg(format!("--init-file={}", self.folder.join("init.sql").display()))
            .arg(format!("--port={}", self.port.number()))
            .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin"])
            .args(["--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=2"])
            .args(["--performance-schema=OFF", "--max-connections=500"])
            .args(&self.arguments)
            .args(apart(&self.folder));
        let mut process = Process::spawn("MariaDB", command, &self.folder.join("log"))?;

        let url = self.url();
        let ready = poll(Duration::from_secs(60), || {
            let alive = process.check_alive();
            let url = &url;
            async move {
                match alive {
                    // What has ended will not answer: no use in waiting on.
                    Err(end) => Ok(Err(end)),
                    Ok(()) => connect(url).await.map(Ok),
                }
            }
        });
        ready.await.map_err(anyhow::Error::msg).context("MariaDB does not answer")??;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// When it did not end by itself within 20 s, and was killed.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(Duration::from_secs(20)).await?;
        }
        Ok(())
    }

    /// Ends it as a power cut would (SIGKILL).
    pub fn kill(&mut self) {
        self.process = None;
    }
}

async fn install(folder: &Folder) -> anyhow::Result<()> {
    let mut command = Command::new("mariadb-install-db");
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", folder.join("data").display()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
        .args(apart(folder));
    let mut process = Process::spawn("mariadb-install-db", command, &folder.join("install-log"))?;
    let ended = poll(Duration::from_secs(60), || std::future::ready(process.exited().ok().flatten())).await;
    ensure!(ended.is_ok_and(|status| status.success()), "mariadb-install-db failed:\n{}", process.log_tail());
    Ok(())
}

/// What keeps a server to itself.
fn apart(folder: &Folder) -> Vec<String> {
    // A server that starts removes all temporary tables that it finds, also those of another at work.
    let mut arguments = vec![format!("--tmpdir={}", folder.join("tmp").display())];
    // MariaDB runs as root only when told to; for anybody else there is nothing to say.
    if effective_user() == 0 {
        arguments.push("--user=root".to_owned());
    }
    arguments
}

/// Server programs are often outside an ordinary user's PATH.
fn find(program: &str) -> PathBuf {
    ["/usr/sbin", "/usr/libexec", "/usr/local/sbin"]
        .iter()
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.exists())
        .unwrap_or_else(|| program.into())
}

async fn connect(url: &str) -> anyhow::Result<MySqlConnection> {
    let options: MySqlConnectOptions = url.parse()?;
    // A throw-away server on loopback has no certificate.
    Ok(options.ssl_mode(MySqlSslMode::Disabled).connect().await?)
}

/// Makes a database that nobody else uses on the server at `server_url`, and returns
/// its URL.
///
/// # Errors
/// When the server does not answer.
pub async fn create_database(server_url: &str) -> anyhow::Result<String> {
    let name = unique_name("db");
    run_sql(server_url, &format!("CREATE DATABASE {name}")).await?;
    let mut url = url::Url::parse(server_url)?;
    url.set_path(&name);
    Ok(url.into())
}

/// Runs any number of statements, separated by `;`, over the connection `url`.
///
/// # Errors
/// When the server refuses one; those before it have been carried out.
pub async fn run_sql(url: &str, sql: &str) -> anyhow::Result<()> {
    let mut connection = connect(url).await.context("cannot reach MySQL")?;
    // Only tests come here, with SQL that they wrote themselves.
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.context("SQL failed")?;
    connection.close().await?;
    Ok(())
}

/// Runs the workspace's `init.sql` inside the database at `url`: its tables and rows,
/// but not the statements that concern the whole server (databases, accounts, rights).
///
/// # Errors
/// When the file cannot be read or a statement fails.
pub async fn load_schema(url: &str) -> anyhow::Result<()> {
    let path = crate::workspace_root().join("init.sql");
    let sql = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    run_sql(url, &within_one_database(&sql)).await
}

/// Drops server-wide statements. Splits at a `;` that ends a line, which is how a
/// schema is written.
fn within_one_database(sql: &str) -> String {
    const SERVER_WIDE: [&str; 8] =
        ["CREATE DATABASE", "CREATE USER", "ALTER USER", "GRANT ", "USE ", "DROP DATABASE", "DROP USER", "FLUSH "];
    let bare: String =
        sql.lines().filter(|line| !line.trim_start().starts_with("--")).map(|line| line.to_owned() + "\n").collect();
    bare.split(";\n")
        .map(str::trim)
        .filter(|statement| {
            let start = statement.to_uppercase();
            !statement.is_empty() && !SERVER_WIDE.iter().any(|word| start.starts_with(word))
        })
        .map(|statement| format!("{};\n", statement.trim_end_matches(';')))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::within_one_database;

    #[test]
    fn a_schema_loses_what_concerns_the_whole_server() {
        let sql = "-- the schema\nCREATE DATABASE IF NOT EXISTS auth;\nuse auth;\n\nCREATE TABLE user (\n  id INT -- key; not a name\n);\nGRANT ALL ON auth.* TO 'a'@'%';\nINSERT INTO user VALUES (1);";
        assert_eq!(
            within_one_database(sql),
            "CREATE TABLE user (\n  id INT -- key; not a name\n);\nINSERT INTO user VALUES (1);\n"
        );
    }
}

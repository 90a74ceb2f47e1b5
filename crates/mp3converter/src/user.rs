//! `user`: accounts, at the terminal of whoever runs the program.

use std::{io::Read, process::ExitCode};

use auth::accounts::Accounts;
use clap::{Args, Subcommand};
use common::{Env, Error, Secret, start::install_crypto};

use crate::{home::Home, serve::password};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes an account
    Add(Account),
    /// Gives an account another password
    Passwd(Account),
    /// Keeps an account out, from its next request on
    Disable { email: String },
    /// Lets it in again
    Enable { email: String },
    /// Lists all accounts
    List,
}

#[derive(Args, Debug)]
pub struct Account {
    /// The e-mail address
    email: String,
    /// Reads the password from standard input, instead of making one and printing it
    #[arg(long)]
    password_stdin: bool,
}

pub fn user(home: &Home, command: &Command) -> anyhow::Result<ExitCode> {
    install_crypto();
    let mut env = Env::from_process();
    home.fill(&mut env)?;
    let config = auth::Config::from_env(&mut env);
    let config = env.finish(config)?;
    crate::runtime()?.block_on(handle(&config.database, command))?;
    Ok(ExitCode::SUCCESS)
}

async fn handle(database: &Secret, command: &Command) -> anyhow::Result<()> {
    let accounts = Accounts::connect(database).await?;
    match command {
        Command::Add(account) => {
            let (password, is_new) = account.password()?;
            accounts.add(&account.email, &password).await.map_err(in_full)?;
            account.tell("added", &password, is_new);
        }
        Command::Passwd(account) => {
            let (password, is_new) = account.password()?;
            accounts.set_password(&account.email, &password).await.map_err(|error| about(&account.email, error))?;
            account.tell("changed", &password, is_new);
        }
        Command::Disable { email } => {
            accounts.set_enabled(email, false).await.map_err(|error| about(email, error))?;
            println!("disabled: {email}");
        }
        Command::Enable { email } => {
            accounts.set_enabled(email, true).await.map_err(|error| about(email, error))?;
            println!("enabled: {email}");
        }
        Command::List => {
            for email in accounts.emails().await.map_err(in_full)? {
                println!("{email}");
            }
        }
    }
    Ok(())
}

fn about(email: &str, error: Error) -> anyhow::Error {
    match error {
        Error::NotFound => anyhow::anyhow!("{email} has no account"),
        other => in_full(other),
    }
}

/// At a terminal the cause is no secret.
pub fn in_full(error: Error) -> anyhow::Error {
    match error {
        Error::Unavailable { what, cause } => cause.context(format!("the {what} is unavailable")),
        other => other.into(),
    }
}

impl Account {
    /// The password, and whether it was made here.
    fn password(&self) -> anyhow::Result<(String, bool)> {
        if !self.password_stdin {
            return Ok((password(), true));
        }
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        Ok((text.trim_end_matches(['\r', '\n']).to_owned(), false))
    }

    fn tell(&self, done: &str, password: &str, is_new: bool) {
        println!("{done}: {}", self.email);
        if is_new {
            println!("password: {password}");
        }
    }
}

//! `init.sql` as an operator runs it: against a whole server, and more than once.

use testkit::{Mariadb, Servers, load_schema, run_sql};

use crate::app::{App, CLASSIC, text};

const INIT: &str = include_str!("../../../../init.sql");

#[tokio::test]
async fn it_may_be_run_again_and_brings_no_removed_user_back() {
    let server = Mariadb::start().await.expect("MariaDB");
    for _ in 0..2 {
        run_sql(&server.url(), INIT).await.expect("init.sql");
    }
    let app = App::on(&format!("{}/auth", server.url()), &[]).await;
    app.token("admin@mp3converter.com", "change-me-now").await;

    assert_eq!(app.register("me@example.com", "correct horse").await, text(201, "created"));
    run_sql(&app.database, "DELETE FROM user WHERE email = 'admin@mp3converter.com'").await.expect("deleted");
    run_sql(&server.url(), INIT).await.expect("init.sql");
    assert_eq!(app.login("admin@mp3converter.com", "change-me-now").await, text(401, "invalid credentials"));
    app.token("me@example.com", "correct horse").await;
}

#[tokio::test]
async fn an_old_table_gets_what_it_lacks_and_keeps_its_rows() {
    let database = Servers::shared().mysql_database().await.expect("a database");
    run_sql(&database, CLASSIC).await.expect("the classic table");
    for _ in 0..2 {
        load_schema(&database).await.expect("init.sql");
    }
    run_sql(&database, "UPDATE user SET enabled = FALSE WHERE email = 'georgio@email.com'").await.expect("a column");
    let app = App::on(&database, &[]).await;
    let token = app.token("georgio@email.com", "Admin123").await;
    assert!(app.validate(&token).await.body.contains("\"admin\":false"));
    assert_eq!(app.login("admin@mp3converter.com", "change-me-now").await.status, 401, "the table was not empty");
}

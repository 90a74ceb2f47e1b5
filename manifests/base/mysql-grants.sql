-- What the auth service may do, and no more. The server's image makes the account itself.
GRANT SELECT, INSERT, UPDATE ON `auth`.`user` TO 'auth_user'@'%';

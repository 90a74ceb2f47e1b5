-- The accounts: database, table and a first user. May be run any number of times:
--   mysql -u root -p < init.sql
-- Database accounts and rights are made by whoever sets up the server.

CREATE DATABASE IF NOT EXISTS `auth` CHARACTER SET utf8mb4;
USE `auth`;

-- A table made by an older installation is taken as it is; of the columns after
-- `password` only `enabled` is added.
CREATE TABLE IF NOT EXISTS `user` (
  `id` INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  -- In lower case.
  `email` VARCHAR(255) NOT NULL UNIQUE,
  -- An argon2id hash in PHC form.
  `password` VARCHAR(255) NOT NULL,
  -- Whether the account may use the converter.
  `enabled` BOOLEAN NOT NULL DEFAULT TRUE,
  `created_at` TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) CHARACTER SET utf8mb4;

-- A table without the column `enabled` gets it: MySQL has no IF NOT EXISTS for columns.
SET @step = IF(
  EXISTS (SELECT 1 FROM information_schema.columns
          WHERE table_schema = DATABASE() AND table_name = 'user' AND column_name = 'enabled'),
  'DO 0',
  'ALTER TABLE `user` ADD COLUMN `enabled` BOOLEAN NOT NULL DEFAULT TRUE');
PREPARE step FROM @step;
EXECUTE step;
DEALLOCATE PREPARE step;

-- Only into an empty table: a first user that was removed does not come back.
-- The password is change-me-now.
INSERT INTO `user` (`email`, `password`)
SELECT 'admin@mp3converter.com',
       '$argon2id$v=19$m=19456,t=2,p=1$8glofvZYk+xIvrPcbz0MgA$LGCmOo4BfmEunjBOS830DCZx8ssnrhAiPp6boZCVie4'
FROM DUAL
WHERE NOT EXISTS (SELECT 1 FROM `user`);

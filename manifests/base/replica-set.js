// Makes the replica set and its users, or brings them to what the environment says. Runs
// beside the first member, in mongosh; fails where it has to be run again.
//
//   MEMBERS                  host:port of each member, the first one's own first
//   MONGODB_ROOT_PASSWORD
//   GATEWAY_URI, CONVERTER_URI, NOTIFICATION_URI
//                            each service's own MONGODB_URI, with its user and password

const { URL } = require('url');
const { MEMBERS, MONGODB_ROOT_PASSWORD: password } = process.env;
const members = MEMBERS.split(',');

// What each service may touch.
const rights = {
  GATEWAY_URI: [['readWrite', 'videos'], ['readWrite', 'mp3s'], ['readWrite', 'mp3converter']],
  CONVERTER_URI: [['read', 'videos'], ['readWrite', 'mp3s'], ['readWrite', 'mp3converter']],
  NOTIFICATION_URI: [['readWrite', 'mp3converter']],
};

const AUTHENTICATION_FAILED = 18;
const ALREADY_INITIALIZED = 23;

function open(user, hosts, options) {
  return connect(`mongodb://${user}${hosts}/admin?${options}&serverSelectionTimeoutMS=5000`);
}
const root = `root:${encodeURIComponent(password)}@`;
const self = '127.0.0.1:27017';

function waitForPrimary(admin) {
  for (let tries = 0; !admin.hello().isWritablePrimary; tries++) {
    if (tries === 120) throw new Error('this member does not become primary');
    sleep(500);
  }
}

// Nobody has an account yet, so the server takes the first orders from its own machine.
function bootstrap() {
  // A member that has lost its disk: the others take it in again by themselves, and are no set of its own.
  for (const host of members.slice(1)) {
    if (open('', host, 'directConnection=true').hello().setName) throw new Error(`${host} is in the set already`);
  }
  const admin = open('', self, 'directConnection=true');
  try {
    admin.adminCommand({ replSetInitiate: { _id: 'rs0', members: [{ _id: 0, host: members[0] }] } });
  } catch (error) {
    if (error.code !== ALREADY_INITIALIZED) throw error;
  }
  waitForPrimary(admin);
  admin.createUser({ user: 'root', pwd: password, roles: ['root'] });
  print('the replica set is made');
}

try {
  open(root, self, 'directConnection=true');
} catch (error) {
  if (error.code !== AUTHENTICATION_FAILED) throw error;
  bootstrap();
}

// Whoever is primary by now.
const admin = open(root, self, 'directConnection=true').hello().isWritablePrimary
  ? open(root, self, 'directConnection=true')
  : open(root, members.join(','), 'replicaSet=rs0');

// One at a time: each must have arrived before the next comes.
for (const host of members) {
  const { config } = admin.adminCommand({ replSetGetConfig: 1 });
  if (config.members.some((member) => member.host === host)) continue;
  const _id = Math.max(...config.members.map((member) => member._id)) + 1;
  config.members.push({ _id, host });
  config.version += 1;
  admin.adminCommand({ replSetReconfig: config, maxTimeMS: 60000 });
  print(`${host} is a member`);
}

for (const [variable, roles] of Object.entries(rights)) {
  const { username, password } = new URL(process.env[variable]);
  const user = decodeURIComponent(username);
  const account = {
    pwd: decodeURIComponent(password),
    roles: roles.map(([role, db]) => ({ role, db })),
  };
  if (admin.getUser(user)) admin.updateUser(user, account);
  else admin.createUser({ user, ...account });
}
print('the users are as they should be');

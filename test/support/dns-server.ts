import { createSocket } from 'node:dgram';

/** What a name server says of a name: its addresses, nothing ever, or that it failed. */
export type DnsAnswer = readonly string[] | 'silence' | 'failure';

export interface DnsServer {
  /** As `Resolver.setServers` takes it. */
  address: string;
  /** Names asked for, one entry a question. */
  asked: string[];
  close(): Promise<void>;
}

const TYPE_A = 1;
const TYPE_AAAA = 28;
const SERVER_FAILURE = 2;
const NAME_ERROR = 3;

/** A real name server on a free loopback port. `answerOf` is asked once a question; undefined: no such name. */
export async function startDnsServer(
  answerOf: (name: string) => DnsAnswer | undefined,
): Promise<DnsServer> {
  const asked: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (query, peer) => {
    const { name, type, end } = questionOf(query);
    asked.push(name);
    const answer = answerOf(name);
    if (answer === 'silence') return;
    const code = answer === undefined ? NAME_ERROR : answer === 'failure' ? SERVER_FAILURE : 0;
    const records = (Array.isArray(answer) ? answer : [])
      .map(addressBytes)
      .filter((bytes) => bytes.length === (type === TYPE_A ? 4 : type === TYPE_AAAA ? 16 : 0))
      .map((bytes) => record(type, bytes));
    const header = Buffer.from(query.subarray(0, 12));
    header.writeUInt16BE(0x8180 | code, 2);
    header.writeUInt16BE(records.length, 6);
    header.writeUInt32BE(0, 8);
    socket.send(Buffer.concat([header, query.subarray(12, end), ...records]), peer.port);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${socket.address().port}`,
    asked,
    close: () => new Promise((resolve) => socket.close(resolve)),
  };
}

/** RFC 1035, section 4.1.2. */
function questionOf(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  while (query[at] !== 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + query[at]!));
    at += 1 + query[at]!;
  }
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

/** Its name is a pointer to the question's; it may be kept for no time. */
function record(type: number, bytes: Buffer): Buffer {
  const head = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0, 0, bytes.length]);
  return Buffer.concat([head, bytes]);
}

function addressBytes(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::');
  const left = head.split(':').filter(Boolean);
  const right = tail.split(':').filter(Boolean);
  const zeros = Array<string>(8 - left.length - right.length).fill('0');
  const groups = [...left, ...zeros, ...right].map((group) => group.padStart(4, '0'));
  return Buffer.from(groups.join(''), 'hex');
}

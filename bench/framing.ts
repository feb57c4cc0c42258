/**
 * Cuts what comes over a connection into HTTP/1.1 messages framed by Content-Length (RFC 9112, section
 * 6.3), however they lie in the chunks: as little work as can be, for target and load client share the
 * processors with what is measured. Nothing else is checked, and chunked bodies are refused.
 */
export type OnMessage = (head: string, body: Buffer) => void;

const HEAD_END = Buffer.from('\r\n\r\n');
const LENGTH = /\r\ncontent-length: *(\d+)/i;

export function createFraming(onMessage: OnMessage): (chunk: Buffer) => void {
  let held: Buffer[] = [];
  let heldBytes = 0;
  /** Bytes that the message at the front has at least, as far as is known. */
  let wanted = HEAD_END.length;

  return (chunk) => {
    held.push(chunk);
    heldBytes += chunk.length;
    if (heldBytes < wanted) return;
    let rest = held.length === 1 ? chunk : Buffer.concat(held);
    wanted = HEAD_END.length;
    for (;;) {
      const headBytes = rest.indexOf(HEAD_END);
      if (headBytes === -1) break;
      const head = rest.toString('latin1', 0, headBytes);
      const bodyFrom = headBytes + HEAD_END.length;
      wanted = bodyFrom + bodyBytes(head);
      if (rest.length < wanted) break;
      onMessage(head, rest.subarray(bodyFrom, wanted));
      rest = rest.subarray(wanted);
      wanted = HEAD_END.length;
    }
    held = rest.length > 0 ? [rest] : [];
    heldBytes = rest.length;
  };
}

function bodyBytes(head: string): number {
  const length = LENGTH.exec(head);
  if (length !== null) return Number(length[1]);
  if (/\r\ntransfer-encoding:/i.test(head)) {
    throw new Error(`Expected a message with a Content-Length, got ${head.split('\r\n', 1)[0]}`);
  }
  return 0;
}

import { describe, expect, it } from 'vitest';
import { judgeAudit } from '../../.ci/audit.ts';

const report = (vulnerabilities: object) => JSON.stringify({ metadata: { vulnerabilities } });

describe('judgeAudit()', () => {
  it.each(['high', 'critical'])('fails on a finding of level %s', (level) => {
    const { isGood, text } = judgeAudit(report({ low: 2, [level]: 1, total: 3 }));
    expect(isGood).toBe(false);
    expect(text).toBe(`npm audit: found 2 low, 1 ${level}; see \`npm audit\``);
  });

  it.each([
    [{ info: 0, low: 0, moderate: 0, high: 0, critical: 0, total: 0 }, 'nothing'],
    [{ info: 1, low: 0, moderate: 4, high: 0, critical: 0, total: 5 }, '1 info, 4 moderate'],
  ])('passes %j', (counts, found) => {
    expect(judgeAudit(report(counts))).toEqual({ isGood: true, text: `npm audit: found ${found}` });
  });

  it.each([
    '',
    'not json',
    '{"message": "405 Method Not Allowed", "error": {"summary": "", "detail": ""}}',
  ])('says that it was not checked when the registry answers %j', (output) => {
    expect(judgeAudit(output)).toEqual({
      isGood: true,
      text: 'npm audit: the registry does not offer it here; not checked',
    });
  });
});

import { describe, expect, it } from 'vitest';
import { hasClickId, isMarked, NO_CAMPAIGN, parseCampaign } from './campaign.js';

const nothing = { utm_source: '', utm_medium: '', utm_campaign: '', utm_term: '', utm_content: '' };

describe('parseCampaign', () => {
  it('reads UTM values from the URL, decoded and in lower case', () => {
    const query =
      '?a=1&utm_source=News%20Letter&utm_medium=E-Mail&UTM_Campaign=Spring+Sale&utm_term=%C3%BC&utm_content=%E0%A4%A';
    expect(parseCampaign(query, nothing)).toEqual({
      ...NO_CAMPAIGN,
      source: 'news letter',
      medium: 'e-mail',
      campaign: 'spring sale',
      term: 'ü',
      content: '%e0%a4%a',
    });
  });

  it('prefers explicit fields, one by one', () => {
    const found = parseCampaign('?utm_source=a&utm_medium=b', { ...nothing, utm_source: 'X' });
    expect(found).toMatchObject({ source: 'x', medium: 'b' });
  });

  it.each(['gclid', 'gbraid', 'wbraid', 'msclkid', 'fbclid', 'ttclid', 'twclid', 'li_fat_id'])(
    'keeps %s',
    (name) => {
      expect(isMarked(`?x=1&${name}=AbC`)).toBe(true);
      expect(hasClickId(`?x=1&${name}=AbC`)).toBe(true);
      expect(parseCampaign(`?x=1&${name}=AbC`, nothing)).toMatchObject({ clickIdName: name, clickId: 'AbC' });
    },
  );

  it('takes the first of repeated parameters, and no NUL', () => {
    expect(parseCampaign('?utm_source=a%00b&utm_source=c', nothing).source).toBe('ab');
  });

  it('leaves unmarked queries alone', () => {
    expect(isMarked('?source=x')).toBe(false);
    expect(parseCampaign('?source=x', nothing)).toEqual(NO_CAMPAIGN);
  });
});

import { AppError } from '../errors.js';
import type { MemberRecord, MemberRole, MemberStore } from '../storage/metadata/members.js';
import type { UserStore } from '../storage/metadata/metadata.js';
import type { Site } from './site.js';
import type { SiteNotices } from './site-notices.js';

export interface MemberServiceOptions {
  readonly members: MemberStore;
  readonly users: Pick<UserStore, 'findByEmail'>;
  /** Told after every change, so that no node goes on with the team it knew. */
  readonly notices: Pick<SiteNotices, 'changed'>;
}

type TeamSite = Pick<Site, 'id' | 'siteId' | 'ownerId' | 'name'>;

/** The team of a website. Who may call what is the gate's business. */
export interface MemberService {
  /** The owner and all members, oldest first. */
  list(site: TeamSite): Promise<MemberRecord[]>;
  /**
   * @param email of an account of this instance, in any case
   * @throws AppError `not_found` (no such account), `conflict` (in the team already), `limit_reached`
   */
  add(site: TeamSite, email: string, role: MemberRole): Promise<MemberRecord>;
  /** @throws AppError `not_found` (no member), `conflict` (the owner) */
  setRole(site: TeamSite, userId: string, role: MemberRole): Promise<MemberRecord>;
  /** @throws AppError `not_found` (no member), `conflict` (the owner) */
  remove(site: TeamSite, userId: string): Promise<void>;
}

/** Members of one website, the owner included. */
const MAX_MEMBERS = 500;

export function createMemberService({ members, users, notices }: MemberServiceOptions): MemberService {
  return {
    list: (site) => members.list(site.id),

    async add(site, email, role) {
      const user = await users.findByEmail(email.trim());
      if (user === null) throw new AppError('not_found', 'no account has this e-mail address');
      const member = await members.add(site.id, user.id, role, MAX_MEMBERS);
      await notices.changed(site);
      if (member !== null) return member;
      if ((await members.list(site.id)).some(({ userId }) => userId === user.id)) {
        throw new AppError('conflict', 'user is already a member of this website');
      }
      throw new AppError('limit_reached', `a website has at most ${MAX_MEMBERS} members`);
    },

    async setRole(site, userId, role) {
      if (isOwner(site, userId)) {
        throw new AppError('conflict', 'cannot change the role of the website owner');
      }
      const member = await members.setRole(site.id, userId, role);
      await notices.changed(site);
      if (member === null) throw noMember();
      return member;
    },

    async remove(site, userId) {
      if (isOwner(site, userId)) {
        throw new AppError('conflict', 'cannot remove the website owner from the team');
      }
      const removed = await members.remove(site.id, userId);
      await notices.changed(site);
      if (!removed) throw noMember();
    },
  };
}

const isOwner = ({ ownerId }: TeamSite, userId: string) => ownerId === userId.toLowerCase();

const noMember = () => new AppError('not_found', 'user is not a member of this website');

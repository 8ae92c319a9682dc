import { type Disk, realDisk } from '../../src/storage/stream/local/disk.js';

export interface FragileDisk {
  disk: Disk;
  /** Nothing can be written. */
  fail: boolean;
  /** Offset in every file of a sector that cannot be read. */
  badSector: number | undefined;
}

const SECTOR_BYTES = 4096;

/** A disk that can be made to fail like a full one, or like one that is worn out. */
export function fragileDisk(): FragileDisk {
  const state: FragileDisk = {
    fail: false,
    badSector: undefined,
    disk: {
      ...realDisk,
      writev: (fd: number, buffers: readonly NodeJS.ArrayBufferView[], position: number) => {
        if (state.fail)
          return Promise.reject(
            Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' }),
          );
        return realDisk.writev(fd, buffers, position);
      },
      read: (fd: number, into: Buffer, position: number) => {
        const { badSector = Number.POSITIVE_INFINITY } = state;
        const isHit = position < badSector + SECTOR_BYTES && position + into.length > badSector;
        if (!isHit) return realDisk.read(fd, into, position);
        return Promise.reject(Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' }));
      },
    },
  };
  return state;
}

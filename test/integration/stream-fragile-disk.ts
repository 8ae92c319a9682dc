import { type Disk, realDisk } from '../../src/storage/stream/local/disk.js';

/** A disk that can be made to fail like a full one. */
export function fragileDisk(): { disk: Disk; fail: boolean } {
  const state = {
    fail: false,
    disk: {
      ...realDisk,
      writev: (fd: number, buffers: readonly NodeJS.ArrayBufferView[], position: number) => {
        if (state.fail) return Promise.reject(new Error('ENOSPC: no space left on device'));
        return realDisk.writev(fd, buffers, position);
      },
    },
  };
  return state;
}

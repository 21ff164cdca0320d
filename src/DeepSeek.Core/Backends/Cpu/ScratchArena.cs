
namespace DeepSeek.Backends.Cpu;

/// <summary>
/// Native scratch memory with the discipline of a stack: what was rented since a mark is given back together. Grows by whole chunks, so addresses stay valid;
/// once the stack is empty, several chunks become one. Everything is 64-byte aligned. One thread uses it.
/// </summary>
internal sealed unsafe class ScratchArena : IDisposable
{
    private const long Alignment = 64;
    private const int OffsetBits = 44;

    private readonly List<(nint Address, long Bytes)> chunks = [];
    private int current = -1;
    private long offset;

    /// <summary>The present height, for <see cref="Release"/>.</summary>
    public long Mark() => ((long)(current + 1) << OffsetBits) | offset;

    /// <summary>Memory that is valid until the release of an earlier mark.</summary>
    public void* Rent(long bytes)
    {
        bytes = (bytes + Alignment - 1) & -Alignment;
        if (current < 0 || offset + bytes > chunks[current].Bytes) NextChunk(bytes);
        void* address = (byte*)chunks[current].Address + offset;
        offset += bytes;
        return address;
    }

    /// <summary>Gives back all that was rented since the mark.</summary>
    public void Release(long mark)
    {
        current = (int)(mark >> OffsetBits) - 1;
        offset = mark & ((1L << OffsetBits) - 1);
        if (mark == 0 && chunks.Count > 1)
        {
            long bytes = chunks.Sum(c => c.Bytes);
            Free(0);
            NextChunk(bytes);
            current = -1;
        }
    }

    /// <summary>Goes on in the next chunk, a fresh one where it is missing or too small (then nothing behind it is in use).</summary>
    private void NextChunk(long bytes)
    {
        int next = current + 1;
        if (next < chunks.Count && chunks[next].Bytes < bytes) Free(next);
        if (next == chunks.Count)
        {
            long size = Math.Max(bytes, Math.Max(1 << 20, chunks.Count > 0 ? chunks[^1].Bytes : 0));
            chunks.Add(((nint)NativePages.Allocate((nuint)size), size));
        }
        (current, offset) = (next, 0);
    }

    private void Free(int first)
    {
        for (int i = first; i < chunks.Count; i++) NativePages.Free((void*)chunks[i].Address);
        chunks.RemoveRange(first, chunks.Count - first);
    }

    public void Dispose()
    {
        Free(0);
        (current, offset) = (-1, 0);
    }
}

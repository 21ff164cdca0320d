using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;

namespace DeepSeek.Formats;

/// <summary>
/// A whole file as read-only memory: mapped (opening costs nothing, pages come when touched, processes share them), or copied into private memory, which later changes
/// of the file cannot reach. All offsets are 64-bit and checked. Thread-safe; dispose it after the last use of any address from it.
/// </summary>
internal sealed unsafe class MappedFile : IDisposable
{
    /// <summary>Alignment of a private copy: that of a page, as a mapping has it.</summary>
    private const nuint CopyAlignment = 4096;

    private readonly MemoryMappedFile? map;
    private readonly MemoryMappedViewAccessor? view;
    private byte* data;

    private MappedFile(string path, bool privateCopy)
    {
        Path = path;
        if (Directory.Exists(path)) throw new InvalidModelFileException($"'{path}' is a folder, expected a file.");
        if (!File.Exists(path)) throw new InvalidModelFileException($"There is no file '{path}'.");
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 0);
            Length = file.Length;
            if (Length == 0) throw new InvalidModelFileException($"The file '{path}' is empty. It may be a failed download.");
            if (privateCopy)
            {
                data = Copy(file.SafeFileHandle, Length, path);
                return;
            }
            map = MemoryMappedFile.CreateFromFile(file, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            view = map.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
            view.SafeMemoryMappedViewHandle.AcquirePointer(ref data);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            view?.Dispose();
            map?.Dispose();
            throw new InvalidModelFileException($"The file '{path}' cannot be read: {e.Message}", e);
        }
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Bytes of the file.</summary>
    public long Length { get; }

    /// <summary>Opens a file.</summary>
    /// <exception cref="InvalidModelFileException">There is none, it is empty, or it cannot be read.</exception>
    public static MappedFile Open(string path, bool privateCopy = false) => new(path, privateCopy);

    /// <summary>The bytes at an offset.</summary>
    /// <exception cref="InvalidModelFileException">They are not all inside the file.</exception>
    public ReadOnlySpan<byte> Span(long offset, long bytes)
    {
        if (bytes > int.MaxValue) throw new InvalidModelFileException($"'{Path}' asks for {bytes} bytes of structure at {offset}: a header that large is not plausible.");
        return new ReadOnlySpan<byte>((void*)Address(offset, bytes), (int)bytes);
    }

    /// <summary>The address of bytes at an offset.</summary>
    /// <exception cref="InvalidModelFileException">They are not all inside the file.</exception>
    public nint Address(long offset, long bytes)
    {
        ObjectDisposedException.ThrowIf(data is null, this);
        if (offset < 0 || bytes < 0 || offset > Length || bytes > Length - offset)
            throw new InvalidModelFileException($"'{Path}' ends at byte {Length}, but {(ulong)bytes} bytes at {(ulong)offset} are needed. The file is truncated or broken; download it again.");
        return (nint)(data + offset);
    }

    public byte Byte(long offset) => *(byte*)Address(offset, 1);

    public ushort UInt16(long offset) => BinaryPrimitives.ReadUInt16LittleEndian(Span(offset, 2));

    public uint UInt32(long offset) => BinaryPrimitives.ReadUInt32LittleEndian(Span(offset, 4));

    public ulong UInt64(long offset) => BinaryPrimitives.ReadUInt64LittleEndian(Span(offset, 8));

    public void Dispose()
    {
        if (data is null) return;
        if (view is null) NativeMemory.AlignedFree(data);
        else view.SafeMemoryMappedViewHandle.ReleasePointer();
        data = null;
        view?.Dispose();
        map?.Dispose();
    }

    private static byte* Copy(Microsoft.Win32.SafeHandles.SafeFileHandle file, long length, string path)
    {
        byte* copy;
        try { copy = (byte*)NativeMemory.AlignedAlloc((nuint)length, CopyAlignment); }
        catch (OutOfMemoryException e) { throw new ModelMemoryException($"A private copy of '{path}' needs {length} bytes, which this process cannot get. Load the model without a private copy.", e); }
        try
        {
            for (long at = 0; at < length;)
            {
                int read = RandomAccess.Read(file, new Span<byte>(copy + at, (int)Math.Min(length - at, 1 << 26)), at);
                if (read == 0) throw new InvalidModelFileException($"'{path}' ended at byte {at} of {length} while it was read.");
                at += read;
            }
            return copy;
        }
        catch
        {
            NativeMemory.AlignedFree(copy);
            throw;
        }
    }
}

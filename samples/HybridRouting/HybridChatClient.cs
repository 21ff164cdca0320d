using System.ClientModel;
using System.Runtime.CompilerServices;
using DeepSeek;
using Microsoft.Extensions.AI;

namespace HybridRouting;

/// <summary>
/// Short requests go to the local model, long ones to the remote engine; where the one that was chosen cannot answer, the other one does. A stream changes sides only before its first update.
/// </summary>
/// <param name="local">A model of this process.</param>
/// <param name="remote">An engine elsewhere: vLLM, SGLang, llama.cpp's server, the DeepSeek API.</param>
/// <param name="localMaxCharacters">Conversations up to this length stay here.</param>
internal sealed class HybridChatClient(IChatClient local, IChatClient remote, int localMaxCharacters) : IChatClient
{
    public async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
        => await GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken);

    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        IList<ChatMessage> conversation = messages as IList<ChatMessage> ?? [.. messages];
        bool isShort = conversation.Sum(m => m.Text.Length) <= localMaxCharacters;
        IChatClient[] order = isShort ? [local, remote] : [remote, local];
        foreach (IChatClient client in order)
        {
            await using IAsyncEnumerator<ChatResponseUpdate> updates = client.GetStreamingResponseAsync(conversation, options, cancellationToken).GetAsyncEnumerator(cancellationToken);
            bool more;
            try { more = await updates.MoveNextAsync(); }
            catch (Exception e) when (client != order[^1] && IsDown(e)) { continue; }
            for (; more; more = await updates.MoveNextAsync()) yield return updates.Current;
            yield break;
        }
    }

    /// <summary>The one that was asked cannot answer now; the request itself may be fine. Refused requests (InvalidOptionException, 400) are refused everywhere.</summary>
    private static bool IsDown(Exception e) => e switch
    {
        ClientResultException http => http.Status is 0 or 429 or >= 500,
        HttpRequestException or IOException or TimeoutException or AggregateException => true,
        InvalidOptionException => false,
        ModelException => true, // cannot be loaded, is busy, or its context is too short
        _ => false,
    };

    public object? GetService(Type serviceType, object? serviceKey = null) => serviceType.IsInstanceOfType(this) ? this : local.GetService(serviceType, serviceKey) ?? remote.GetService(serviceType, serviceKey);

    public void Dispose()
    {
        local.Dispose();
        remote.Dispose();
    }
}
